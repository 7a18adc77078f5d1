package queue

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// JobsConfig bounds what one worker holds.
type JobsConfig struct {
	// Window is how many jobs of one stream are held at most. The worker reads this far ahead to
	// fill batches and to take turns between projects. Zero: 20,000.
	Window int
	// WindowBytes bounds the memory that the jobs held of all streams take, in bytes: each of the four streams
	// may have a quarter of it. Zero: 256 MiB.
	WindowBytes int
	// MaxHold is how long one lease is renewed; it lapses after that. Zero: 15 minutes.
	MaxHold time.Duration
	// OnError, when set, is called with errors met while taking in jobs. Taking in goes on by itself.
	OnError func(error)
}

// Jobs hands out leases on the jobs of all priorities and on deferred jobs whose time has come, and
// renews the leases while they are held. It is the [Holder] of its leases. Safe for concurrent use.
type Jobs struct {
	q       *Queue
	cfg     JobsConfig
	sources []*source
	cancel  context.CancelFunc
	intake  sync.WaitGroup
	renewal sync.WaitGroup
	stop    func()          // called by Close, ends stopped
	stopped context.Context // of the renewal

	room    room
	delayed delays

	mu      sync.Mutex
	arrived []*Lease // taken in, not yet handed out
	closed  bool
	overdue int           // schedules, found by the last patrol
	unfired *Condition    // why the last patrol could not have them fire; nil: it could
	ready   chan struct{} // holds a token when arrived is not empty
}

// Jobs begins to take in jobs, until ctx ends; leases are renewed until Close. It returns the errors
// of [Queue.Check].
func (q *Queue) Jobs(ctx context.Context, cfg JobsConfig) (*Jobs, error) {
	if err := q.Check(ctx); err != nil {
		return nil, err
	}
	return q.openJobs(ctx, cfg)
}

func (q *Queue) openJobs(ctx context.Context, cfg JobsConfig) (*Jobs, error) {
	if cfg.Window <= 0 {
		cfg.Window = 20_000
	}
	if cfg.WindowBytes <= 0 {
		cfg.WindowBytes = 256 << 20
	}
	if cfg.MaxHold <= 0 {
		cfg.MaxHold = 15 * time.Minute
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	j := &Jobs{q: q, cfg: cfg, ready: make(chan struct{}, 1)}
	streams := []string{JobStream(Urgent), JobStream(Normal), JobStream(Bulk), LaterStream}
	for _, name := range streams {
		s := &source{
			stream: name, held: map[place]*Lease{}, removed: map[place]time.Time{}, wake: make(chan struct{}, 1),
			window: newWindow(cfg.Window, cfg.WindowBytes/4),
		}
		if err := j.look(ctx, s); err != nil {
			return nil, err
		}
		j.sources = append(j.sources, s)
	}
	if err := q.compareClocks(ctx); err != nil {
		cfg.OnError(err)
	}
	ctx, j.cancel = context.WithCancel(ctx)
	j.stopped, j.stop = context.WithCancel(context.Background())
	for _, s := range j.sources {
		j.intake.Go(func() { j.take(ctx, s) })
		j.renewal.Go(func() { j.renew(s) })
	}
	j.renewal.Go(j.keepClock)
	j.renewal.Go(j.watchSchedules)
	return j, nil
}

// Next returns the leases that arrived since it was last called, at least one; it waits for the
// first. It returns ctx.Err() when ctx ends; what has arrived by then stays for the next call, or
// is released by Close. When the connection has ended for good it returns an error that matches [ErrClosed], or
// nats.ErrConnectionClosed after [Queue.Close].
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
		case <-j.q.Closed():
			return nil, cmp.Or(j.q.Err(), nats.ErrConnectionClosed)
		}
	}
}

// Close stops taking in jobs, releases those that were not handed out, and stops renewing. Leases
// that are still held afterwards go to another worker when they lapse.
func (j *Jobs) Close() {
	j.cancel()
	j.intake.Wait()
	j.mu.Lock()
	again := j.closed
	j.closed = true
	leases := j.arrived
	j.arrived = nil
	j.mu.Unlock()
	if again {
		return
	}
	for _, l := range leases {
		l.Release()
	}
	j.stop()
	j.renewal.Wait()
}

// Held returns how many leases are held at this moment.
func (j *Jobs) Held() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, s := range j.sources {
		n += len(s.held)
	}
	return n
}
