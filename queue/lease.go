package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// Lease is a job held by this worker. It ends exactly once: by [Ack], [Defer] or
// [Lease.Release]. While it is held the queue renews it, up to [JobsConfig.MaxHold].
type Lease struct {
	// Job is what is to be done. Meaningless when Invalid is set.
	Job Job
	// Invalid says why the payload is not a job; Raw then holds the payload as it came.
	Invalid error
	Raw     []byte

	Priority Priority
	// Stream and Seq say where the job stands, and StoredAt since when: streams that are removed and made anew,
	// or restored, use the same sequences for different jobs.
	Stream   string
	Seq      uint64
	StoredAt time.Time
	// Behind is how many jobs were queued behind it in its stream when it was delivered.
	Behind uint64
	// Letter, if it is not nil, is the outcome of some recipients of an earlier lease that could not be buried
	// then. Nothing is to be called for; it is to be buried, and the lease acked. Job is meaningless.
	Letter *DeadLetter
	// Redelivered is set if the job was leased before. A worker that died may have published the
	// job's deferral already; deferring the job once more then stores nothing new.
	Redelivered bool
	// History is what was remembered of the job when it was delivered.
	History

	holder Holder
	// reply is the subject on which the server expects the lease's end. If renewed is not nil, the
	// server delivered the job to its holder once more and expects the end there.
	reply   string
	renewed atomic.Pointer[string]
	state   atomic.Int32
	kept    atomic.Bool
	// until, in unix nanoseconds, is when the lease lapses; since is when the job was delivered.
	until atomic.Int64
	since time.Time
	size  int // in memory, in bytes
	from  *source
	// standing says what the server knows of the lease, and forgotten that it has ended.
	standing  atomic.Int32
	forgotten atomic.Bool
}

// What the server knows of a lease.
const (
	leased   int32 = iota // its consumer expects its end
	stale                 // its consumer is gone; the job is in the stream
	orphaned              // its stream is gone
)

// Deferral asks for a leased job to come back at a time, at most a year from now.
type Deferral struct {
	Lease *Lease
	// At is when the job comes back.
	At time.Time
	// WovenIDs are the recipients for whom it comes back. Nil: all. Empty but not nil: nobody, only Letters
	// come back.
	WovenIDs []string
	// Letters are outcomes that could not be buried. Each comes back at the same time, as [Lease.Letter] of a
	// lease of its own.
	Letters []DeadLetter
	// History is what the job comes back with: usually the lease's History with the attempts made
	// since. Nothing is taken from the lease if this is zero. Only its Deferrals is ignored: the
	// queue counts this deferral itself, and sets one more than the lease has.
	History History
}

// Holder ends leases. [Jobs] is the holder of the leases that [Jobs.Next] returns; tests of a worker
// pass their own to [NewLease]. Every method may be called again for the same lease after it returned
// an error.
type Holder interface {
	// Ack ends the leases as done: when it returns nil the server will not deliver them again.
	Ack(ctx context.Context, leases []*Lease) error
	// Defer ends the leases; each job comes back at its time.
	Defer(ctx context.Context, deferrals []Deferral) error
	// Split publishes the recipients beyond the limit as a job of its own; the lease goes on.
	Split(ctx context.Context, lease *Lease, limit int) error
	// Release ends the lease; the job comes back at once, to any worker.
	Release(lease *Lease)
}

// NewLease makes a lease that holder ends.
func NewLease(lease *Lease, holder Holder) *Lease {
	lease.holder, lease.size = holder, lease.memory()
	lease.until.Store(1<<63 - 1)
	return lease
}

// Size is about what the lease takes in memory, in bytes: so much of [JobsConfig.WindowBytes]. A split does not
// change it.
func (l *Lease) Size() int { return l.size }

// Keep lifts the bound of [JobsConfig.MaxHold] for this lease: its outcome is known and could not be
// recorded yet.
func (l *Lease) Keep() { l.kept.Store(true) }

// Over reports whether the lease has ended, and the server confirmed that: so of several that were to be ended
// together, where that failed for some.
func (l *Lease) Over() bool { return l.forgotten.Load() }

// address is the subject on which the server expects the lease's end.
func (l *Lease) address() string {
	if renewed := l.renewed.Load(); renewed != nil {
		return *renewed
	}
	return l.reply
}

// LapseAt sets when the lease lapses: from then on the server may deliver the job to another worker.
// Only the lease's holder calls it.
func (l *Lease) LapseAt(t time.Time) { l.until.Store(t.UnixNano()) }

// ErrEnded is returned when a lease that has ended in one way is to be ended in another.
var ErrEnded = errors.New("the lease has ended already")

// How a lease ends. If ending it failed, it can still end in that way only.
const (
	held int32 = iota
	acked
	deferred
	released
)

// claim sets the only way in which the lease can end.
func (l *Lease) claim(how int32) error {
	if l.state.CompareAndSwap(held, how) || l.state.Load() == how {
		return nil
	}
	return fmt.Errorf("end lease on %s: %w", l.Origin(), ErrEnded)
}

// Origin names where the job stands, such as normal-dtkm3kgf5hc6-4711: its stream, when it was stored (in
// nanoseconds, to the base of 36), and its sequence. No two jobs ever have the same, however often a stream is
// made anew; a job in a stream that was restored from a backup has the one that it had before.
func (l *Lease) Origin() string {
	origin := streamLabel(l.Stream) + "-"
	if !l.StoredAt.IsZero() {
		origin += strconv.FormatInt(l.StoredAt.UnixNano(), 36) + "-"
	}
	return origin + strconv.FormatUint(l.Seq, 10)
}

func (l *Lease) place() place { return place{l.Seq, l.StoredAt.UnixNano()} }

// Lapsed reports whether the server may have delivered the job to another worker, because the lease
// could not be renewed in time or was held for too long. No call should begin for it any more; known
// outcomes may still be settled.
func (l *Lease) Lapsed(now time.Time) bool { return now.UnixNano() >= l.until.Load() }

// Ack ends leases as done; all must come from the same [Jobs]. When it returns nil the server has
// confirmed that it will not deliver the jobs again; after an error it may be called again with
// the same leases.
func Ack(ctx context.Context, leases []*Lease) error {
	if len(leases) == 0 {
		return nil
	}
	for _, l := range leases {
		if err := l.claim(acked); err != nil {
			return err
		}
	}
	return leases[0].holder.Ack(ctx, leases)
}

// Defer ends leases whose jobs come back at their times; all must come from the same [Jobs]. When
// it returns nil the server keeps the jobs; after an error it may be called again.
func Defer(ctx context.Context, deferrals []Deferral) error {
	if len(deferrals) == 0 {
		return nil
	}
	for _, d := range deferrals {
		if err := d.Lease.claim(deferred); err != nil {
			return err
		}
	}
	return deferrals[0].Lease.holder.Defer(ctx, deferrals)
}

// Split publishes the recipients beyond the limit as a job of its own, which arrives by itself, and goes on with
// the first ones: Job holds only these then. To be called by whoever works on the job, since Job changes. The
// id of the rest is made of origin and limit, so that splitting the job again, also after a crash, stores
// nothing new for an hour. After an error it may or may not be stored.
func (l *Lease) Split(ctx context.Context, limit int) error {
	if l.state.Load() != held {
		return fmt.Errorf("split job on %s: %w", l.Origin(), ErrEnded)
	}
	if len(l.Job.WovenIDs) <= limit {
		return nil
	}
	if err := l.holder.Split(ctx, l, limit); err != nil {
		return err
	}
	l.Job.WovenIDs = l.Job.WovenIDs[:limit:limit]
	l.Ambiguous = triedOf(l.Ambiguous, 0, limit)
	return nil
}

// Release gives the job back at once. On a lease that has ended already it does nothing.
func (l *Lease) Release() {
	if l.state.CompareAndSwap(held, released) {
		l.holder.Release(l)
	}
}
