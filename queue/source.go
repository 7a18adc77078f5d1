package queue

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// source is one stream's share of what is held. What has no other word is guarded by Jobs.mu.
type source struct {
	stream  string
	held    map[place]*Lease
	removed map[place]time.Time // done jobs that were taken out of the stream, and when: one may be on its way here
	window  window
	limits  pullLimits
	ackWait time.Duration
	// of says which stream and consumer the leases are of, as far as is known.
	of generation
	// sure is the number of reconnections, plus one, at which that was last found to be so; zero: it is not
	// known. Behind another connection there may be another server, whose jobs have the same numbers.
	sure    atomic.Uint64
	looking sync.Mutex // one look at a time
	looked  time.Time  // when the last one showed that all is well
	// session is the present one; nil between two.
	session *session
	trouble *Condition // why nothing can be taken in; nil: it can
	unacked *Condition // why no acks are confirmed, since the first one that was not; nil: they are
	wake    chan struct{}
}

// place tells jobs of one stream name apart: the sequence, and when the server stored it. Sequences begin
// anew when a stream is made anew or restored.
type place struct {
	seq    uint64
	stored int64
}

// generation tells apart the streams and consumers that bear the same names one after another, by when they
// were created. Zero: there is none.
type generation struct{ stream, consumer int64 }

// found is what a look at the server showed.
type found struct {
	of        generation
	last      uint64 // sequence in the stream
	delivered uint64 // up to which the consumer has come
	limits    pullLimits
	ackWait   time.Duration
}

// lookUp looks for the source's stream and consumer. The error matches [ErrMissing] if one of them is missing;
// what was found is returned even then.
func (q *Queue) lookUp(ctx context.Context, name string) (f found, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	stream, err := q.js.Stream(ctx, name)
	if err != nil {
		return f, lookupError("stream "+name, err)
	}
	f.of.stream, f.last = stream.CachedInfo().Created.UnixNano(), stream.CachedInfo().State.LastSeq
	consumer, err := stream.Consumer(ctx, ConsumerName)
	if err != nil {
		return f, lookupError("consumer "+ConsumerName+" of "+name, err)
	}
	info := consumer.CachedInfo()
	f.of.consumer, f.ackWait, f.delivered = info.Created.UnixNano(), info.Config.AckWait, info.Delivered.Stream
	if f.ackWait <= 0 {
		f.ackWait = ackWait
	}
	f.limits = limitsOf(stream.CachedInfo().Config, info.Config, q.nc.MaxPayload())
	return f, nil
}

const lookPatience = 3 * time.Second

// look looks at the server, and acts on what has changed. Sure of what holds is only who looked after the last
// reconnection.
func (j *Jobs) look(ctx context.Context, s *source) error {
	s.looking.Lock()
	defer s.looking.Unlock()
	connection := j.q.nc.Stats().Reconnects + 1
	unsure, newest := s.sure.Load() != connection, j.newest(s)
	f, err := j.q.lookUp(ctx, s.stream)
	if err != nil && !errors.Is(err, ErrMissing) {
		return err
	}
	back := false
	if err == nil && unsure {
		if back, err = j.q.wentBack(ctx, s.stream, f.last, newest); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if f.of != s.of || back {
		j.regenerate(s, f.of, back)
	}
	if err != nil {
		return err
	}
	maps.DeleteFunc(s.removed, func(_ place, at time.Time) bool { return time.Since(at) > removedMemory })
	if unsure && f.delivered < newest.seq {
		j.unknow(s, f.delivered, newest.seq)
	}
	s.sure.Store(connection)
	s.limits, s.ackWait, s.looked = f.limits, f.ackWait, time.Now()
	return nil
}

// regenerate takes down that stream or consumer were removed, or made anew. If it is only the consumer, the
// jobs that are held are in the stream and come once more, to anybody: their leases lapse. If the stream is
// gone, what is held is all that there is of these jobs: they are done as if nothing had happened, unless the
// stream is restored with them in it. Called with Jobs.mu held.
func (j *Jobs) regenerate(s *source, of generation, back bool) {
	first := s.of == generation{}
	gone := back || s.of.stream != of.stream
	for _, l := range s.held {
		if gone {
			l.standing.Store(orphaned)
			l.until.Store(1<<63 - 1)
		} else if l.standing.Load() == leased {
			l.standing.Store(stale)
			l.until.Store(0)
		}
	}
	s.of = of
	s.sure.Store(0)
	if !first || len(s.held) > 0 {
		j.cfg.OnError(errAnew{s.stream, len(s.held), gone})
	}
}

// removedMemory is for how long a message may be on its way to a session after it was deleted.
const removedMemory = 10 * time.Second

// unknow takes down that the consumer has not come as far as some jobs that are held, up to the last: as after a
// crash of its server, which writes down later how far it came, or after it was restored from a backup. It ignores
// their acks, and will deliver them once more, to anybody: as if it had been made anew. Called with Jobs.mu held.
func (j *Jobs) unknow(s *source, delivered, last uint64) {
	n := 0
	for p, l := range s.held {
		if p.seq > delivered && p.seq <= last && l.standing.CompareAndSwap(leased, stale) {
			l.until.Store(0)
			n++
		}
	}
	if n > 0 {
		j.cfg.OnError(errBehind{s.stream, n})
	}
}

// newest is the place of the youngest job that is held.
func (j *Jobs) newest(s *source) (youngest place) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for p, l := range s.held {
		if p.seq > youngest.seq && l.standing.Load() != orphaned {
			youngest = p
		}
	}
	return youngest
}

// wentBack reports whether the stream is in an earlier state than it was when the youngest of the jobs that are
// held was delivered, as after its volume was restored from a backup. Its creation time does not tell.
func (q *Queue) wentBack(ctx context.Context, name string, last uint64, youngest place) (bool, error) {
	if youngest.seq == 0 || last < youngest.seq {
		return youngest.seq > 0, nil
	}
	stream, err := q.js.Stream(ctx, name)
	if err != nil {
		return false, lookupError("stream "+name, err)
	}
	msg, err := stream.GetMsg(ctx, youngest.seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil // it was acked, of which the answer was lost
	}
	if err != nil {
		return false, lookupError("stream "+name, err)
	}
	return msg.Time.UnixNano() != youngest.stored, nil
}

// isSure reports whether stream and consumer are known to be those of the leases.
func (j *Jobs) isSure(s *source) bool { return s.sure.Load() == j.q.nc.Stats().Reconnects+1 }

// lookEvery is how often a source looks at its stream and consumer. With a pull under way the server says at
// once that the consumer is gone, so that it need not be asked so often.
const (
	lookEvery        = time.Second
	lookEveryPulling = 5 * time.Second
	// lookBefore is how long before an ack it must have looked at the latest, without a pull.
	lookBefore = 50 * time.Millisecond
)
