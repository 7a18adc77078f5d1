package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JobsConfig bounds what one worker holds.
type JobsConfig struct {
	// Window is how many jobs of one stream are held at most. The worker reads this far ahead to
	// fill batches and to take turns between projects. Zero: 10,000.
	Window int
	// WindowBytes bounds the payloads held of one stream, in bytes. Zero: 64 MiB.
	WindowBytes int
	// MaxHold is how long one lease is renewed; it lapses after that. Zero: 15 minutes.
	MaxHold time.Duration
	// OnError, when set, is told of trouble while taking in jobs. Taking in goes on by itself.
	OnError func(error)
}

// How jobs are pulled. The defaults of nats.go hoard, and can fall silent for 30 s after a server
// crash (jetstream.md, findings 7 and 8).
const (
	pullMessages  = 500
	pullBytes     = 8 << 20
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
)

// Headers that a job carries when it comes back.
const (
	headerPublished = "Chatrelay-Published" // first publication, RFC 3339
	headerAttempts  = "Chatrelay-Attempts"
	headerError     = "Chatrelay-Error"
	headerReplays   = "Chatrelay-Replays"
)

// Jobs hands out leases on the jobs of all priorities and on those that came due, and renews the
// leases while they are held. It is the [Holder] of its leases. Safe for concurrent use.
type Jobs struct {
	q       *Queue
	cfg     JobsConfig
	sources []*source
	cancel  context.CancelFunc
	intake  sync.WaitGroup
	renewal sync.WaitGroup
	stopped chan struct{} // closed by Close, ends the renewal

	mu      sync.Mutex
	arrived []*Lease // taken in, not yet handed out
	held    map[*Lease]*source
	closed  bool
	ready   chan struct{} // holds a token when arrived is not empty
}

// source is one stream's share of what is held. Its counts are guarded by Jobs.mu.
type source struct {
	stream   string
	consumer jetstream.Consumer
	ackWait  time.Duration
	held     int
	bytes    int
	full     bool          // set at the limits, cleared when half of both is free again
	changed  chan struct{} // holds a token when full changed
}

// Jobs begins to take in jobs, until ctx ends; leases are renewed until Close. It fails with
// [ErrNotReady] when the streams are missing or unsuitable.
func (q *Queue) Jobs(ctx context.Context, cfg JobsConfig) (*Jobs, error) {
	if err := q.Check(ctx); err != nil {
		return nil, err
	}
	return q.openJobs(ctx, cfg)
}

func (q *Queue) openJobs(ctx context.Context, cfg JobsConfig) (*Jobs, error) {
	if cfg.Window <= 0 {
		cfg.Window = 10_000
	}
	if cfg.WindowBytes <= 0 {
		cfg.WindowBytes = 64 << 20
	}
	if cfg.MaxHold <= 0 {
		cfg.MaxHold = 15 * time.Minute
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	j := &Jobs{q: q, cfg: cfg, held: map[*Lease]*source{}, ready: make(chan struct{}, 1), stopped: make(chan struct{})}
	streams := []string{JobStream(Urgent), JobStream(Normal), JobStream(Bulk), LaterStream}
	for _, name := range streams {
		consumer, err := q.js.Consumer(ctx, name, consumerName)
		if err != nil {
			return nil, fmt.Errorf("look up consumer of %s: %w", name, err)
		}
		j.sources = append(j.sources, &source{
			stream: name, consumer: consumer, ackWait: consumer.CachedInfo().Config.AckWait,
			changed: make(chan struct{}, 1),
		})
	}
	ctx, j.cancel = context.WithCancel(ctx)
	for _, s := range j.sources {
		j.intake.Go(func() { j.take(ctx, s) })
		j.renewal.Go(func() { j.renew(s) })
	}
	return j, nil
}

// Next returns the leases that arrived since it was last called, at least one; it waits for the
// first. It returns ctx.Err() when ctx ends; what has arrived by then stays for the next call, or
// is released by Close.
func (j *Jobs) Next(ctx context.Context) ([]*Lease, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		j.mu.Lock()
		leases := j.arrived
		j.arrived = nil
		j.mu.Unlock()
		if len(leases) > 0 {
			return leases, nil
		}
		select {
		case <-j.ready:
		case <-ctx.Done():
		}
	}
}

// Close stops taking in jobs, releases those that were not handed out, and stops renewing. Leases
// that are still held afterwards go to another worker when the server's patience ends.
func (j *Jobs) Close() {
	j.cancel()
	j.intake.Wait()
	j.mu.Lock()
	j.closed = true
	leases := j.arrived
	j.arrived = nil
	j.mu.Unlock()
	for _, l := range leases {
		l.Release()
	}
	close(j.stopped)
	j.renewal.Wait()
}

// Held tells how many leases are held at this moment.
func (j *Jobs) Held() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.held)
}

// take pulls jobs of one stream while there is room for them. It pauses by draining the pull, not
// by blocking it: a job that waits in a blocked client is not renewed, and comes twice.
func (j *Jobs) take(ctx context.Context, s *source) {
	for ctx.Err() == nil {
		j.await(ctx.Done(), s, false)
		pull, err := s.consumer.Consume(
			func(msg jetstream.Msg) { j.arrive(s, msg) },
			// A message above the limit would never come, so it stands far above the largest.
			jetstream.PullMaxMessagesWithBytesLimit(min(pullMessages, j.cfg.Window), max(pullBytes, 2*int(j.q.nc.MaxPayload()))),
			jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat),
			jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
				if !errors.Is(err, jetstream.ErrNoHeartbeat) { // the pull renews itself; a lost connection is told elsewhere
					j.cfg.OnError(fmt.Errorf("take in jobs from %s: %w", s.stream, err))
				}
			}))
		if err != nil {
			j.cfg.OnError(fmt.Errorf("take in jobs from %s: %w", s.stream, err))
			pause(ctx, time.Second)
			continue
		}
		stop, cancel := context.WithCancel(ctx)
		go func() {
			defer cancel()
			select {
			case <-pull.Closed(): // by itself: the consumer was deleted, or the connection closed
				pause(stop, time.Second)
			case <-stop.Done():
			}
		}()
		j.await(stop.Done(), s, true)
		cancel()
		pull.Drain()
		<-pull.Closed()
	}
}

// await blocks until s is full, or is not, or done is closed.
func (j *Jobs) await(done <-chan struct{}, s *source, full bool) {
	for {
		j.mu.Lock()
		ok := s.full == full
		j.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.changed:
		case <-done:
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// arrive makes a lease of a message.
func (j *Jobs) arrive(s *source, msg jetstream.Msg) {
	lease, err := newLease(s.stream, msg)
	if err != nil { // not a JetStream delivery at all; nothing that could be settled
		j.cfg.OnError(fmt.Errorf("take in a job from %s: %w", s.stream, err))
		return
	}
	lease.holder = j
	lease.since = time.Now()
	lease.size = len(msg.Data())
	lease.until.Store(lease.since.Add(s.ackWait).UnixNano())

	j.mu.Lock()
	defer j.mu.Unlock()
	j.held[lease] = s
	s.held++
	s.bytes += lease.size
	if !s.full && (s.held >= j.cfg.Window || s.bytes >= j.cfg.WindowBytes) {
		s.full = true
		signal(s.changed)
	}
	j.arrived = append(j.arrived, lease)
	if len(j.arrived) == 1 {
		signal(j.ready)
	}
}

// newLease reads a delivered message. What cannot be read as a job is a lease too, an invalid one.
func newLease(stream string, msg jetstream.Msg) (*Lease, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	l := &Lease{Stream: stream, Seq: meta.Sequence.Stream, PublishedAt: meta.Timestamp, reply: msg.Reply()}
	subject := msg.Subject()
	rest, due := strings.CutPrefix(subject, duePrefix)
	if !due {
		rest = strings.TrimPrefix(subject, jobsPrefix)
	}
	priority, project, _ := strings.Cut(rest, ".")
	l.Priority = Priority(priority)
	if header := msg.Headers(); len(header) > 0 {
		l.readHeaders(header)
	}
	l.Job, l.Invalid = DecodeJob(msg.Data())
	if _, err := ParsePriority(priority); err != nil {
		l.Priority = Normal
		l.Invalid = errors.Join(l.Invalid, invalid("the subject %.80q names no priority", subject))
	}
	if l.Invalid == nil && l.Job.ProjectID != project {
		l.Invalid = invalid("project_id is %s, but the subject it was published to is %.120s; they must name the same project", l.Job.ProjectID, subject)
	}
	if l.Invalid != nil {
		l.Raw = msg.Data()
	}
	return l, nil
}

func (l *Lease) readHeaders(h nats.Header) {
	if t, err := time.Parse(time.RFC3339Nano, h.Get(headerPublished)); err == nil {
		l.PublishedAt = t
	}
	l.Attempts, _ = strconv.Atoi(h.Get(headerAttempts)) // absent: zero
	l.Replays, _ = strconv.Atoi(h.Get(headerReplays))
	l.LastError = h.Get(headerError)
}

// forget takes ended leases out of what is held.
func (j *Jobs) forget(leases ...*Lease) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range leases {
		s := j.held[l]
		if s == nil {
			continue // ended before, by a call that was repeated
		}
		delete(j.held, l)
		s.held--
		s.bytes -= l.size
		if s.full && s.held <= j.cfg.Window/2 && s.bytes <= j.cfg.WindowBytes/2 {
			s.full = false
			signal(s.changed)
		}
	}
}

// renew tells the server three times within its patience that the leases of s are still held.
// A lease counts as renewed only when a round trip after it proves that the server has read it.
func (j *Jobs) renew(s *source) {
	ticker := time.NewTicker(s.ackWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-j.stopped:
			return
		case <-ticker.C:
		}
		begun := time.Now()
		var due []*Lease
		j.mu.Lock()
		for l, from := range j.held {
			age := begun.Sub(l.since)
			if from == s && age >= s.ackWait/6 && age < j.cfg.MaxHold && !l.Lapsed(begun) {
				due = append(due, l)
			}
		}
		j.mu.Unlock()
		if len(due) == 0 {
			continue
		}
		for _, l := range due {
			_ = j.q.nc.Publish(l.reply, []byte("+WPI")) // the flush tells
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.ackWait/3)
		err := j.q.nc.FlushWithContext(ctx)
		cancel()
		if err != nil {
			j.cfg.OnError(fmt.Errorf("renew %d leases of %s: %w", len(due), s.stream, err))
			continue
		}
		until := begun.Add(s.ackWait).UnixNano()
		for _, l := range due {
			l.until.Store(until)
		}
	}
}
