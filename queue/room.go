package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// lookRoom is how long what was found about the room in NOTIFY_LATER is gone by.
	lookRoom = 5 * time.Second
	// fullFor is how long nothing more is deferred after the server's storage was full.
	fullFor = 30 * time.Second
	// mostDelay is how long a job is given back for at a time. It may have to wait for longer, but by then there
	// may be room.
	mostDelay = 5 * time.Minute
)

// room says how much may wait in NOTIFY_LATER. Jobs that have to wait are moved there, out of reach of the bounds
// that their streams have: a project's quota, and bytes. So what waits is bounded by the same numbers. Beyond
// them a job of which nothing is known yet waits in its own stream, where it counts; others are deferred as long as
// NOTIFY_LATER drops nothing for them, because what is known of them stands nowhere else. A job that was given back
// counts among those that all workers may hold, so that not too many may be.
type room struct {
	inPlace  sync.Mutex // held while jobs of a full NOTIFY_LATER are deferred
	mu       sync.Mutex
	fullTill time.Time // the server's storage was full
	looked   time.Time
	messages int64 // in NOTIFY_LATER
	bytes    int64 // that may still be added; meaningless unless bounded
	bounded  bool
	limit    int64            // max_bytes of NOTIFY_LATER, which drops the oldest for what is too much; 0: none
	spare    int64            // bytes that may be added, whatever they are, before this is looked at again
	spareNow int64            // the same of what is due at once
	granted  int64            // bytes that may be on their way
	quota    map[string]int64 // of each project, by stream; 0: none
	counted  map[string]int64 // by project, where that was asked for since looked
	waiting  map[string]int64 // by project, what was added since then
	crowded  map[string]bool  // by stream: half of the jobs that all workers may hold are held, or given back
}

// places are deferrals by where their jobs can wait.
type places struct {
	now  []Deferral // may be published
	size int64      // of these
	next []Deferral // may be published in the place of what they come from, some at a time
	back []Deferral // wait in their streams
	stay []Deferral // there is no room anywhere: they stay with the worker
}

// within finds out where jobs can wait.
func (j *Jobs) within(ctx context.Context, deferrals []Deferral) (p places, err error) {
	for _, d := range deferrals {
		if d.Lease.forgotten.Load() {
			continue // it ended when this was tried before
		}
		if d.Lease.untouched(d) && d.At.Before(d.Lease.Job.DeliverAt) {
			d.At = d.Lease.Job.DeliverAt // else it would come only to be deferred again
		}
		place := j.roomForTried
		if d.Lease.untouched(d) && d.At.After(j.q.Now()) && j.mayGiveBack(d.Lease) {
			place = j.roomFor
		}
		where, err := place(ctx, d)
		if err != nil {
			return p, err
		}
		switch where {
		case inLater:
			p.now, p.size = append(p.now, d), p.size+d.size()
		case inPlace:
			p.next = append(p.next, d)
		case inStream:
			p.back = append(p.back, d)
		default:
			p.stay = append(p.stay, d)
		}
	}
	return p, nil
}

// untouched reports whether all that is known of the job stands in its stream.
func (l *Lease) untouched(d Deferral) bool {
	h := d.History
	return l.Stream != LaterStream && l.Invalid == nil && l.Letter == nil && l.size == l.memory() && // none of it was split off
		d.WovenIDs == nil && len(d.Letters) == 0 &&
		h.Attempts == 0 && h.Replays == 0 && h.Deferrals == 0 && l.Deferrals == 0 && len(h.Ambiguous) == 0
}

// mayGiveBack reports whether the server expects the end of the lease.
func (j *Jobs) mayGiveBack(l *Lease) bool {
	return l.standing.Load() == leased && !l.Lapsed(j.q.Now()) && j.isSure(l.from)
}

// Where a job can wait.
const (
	inLater = iota
	inPlace
	inStream
	nowhere
)

// roomFor says where a job can wait, and counts it.
func (j *Jobs) roomFor(ctx context.Context, d Deferral) (where int, err error) {
	r, l := &j.room, d.Lease
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.looked) > lookRoom {
		if err := r.look(ctx, j.q); err != nil {
			return nowhere, err
		}
		r.looked = now
	}
	size := d.size()
	fits := !now.Before(r.fullTill) && (!r.bounded || size <= r.bytes)
	allowed, err := r.allows(ctx, j.q, l)
	switch crowded := r.crowded[l.Stream]; {
	case err != nil:
		return nowhere, err
	case fits && (allowed || crowded):
	case l.Redelivered && j.q.isScheduled(ctx, l): // publishing it again replaces it
		return inLater, nil
	case !crowded:
		return inStream, nil
	default:
		return nowhere, nil
	}
	r.messages++
	r.grant(size)
	r.waiting[l.Job.ProjectID]++
	return inLater, nil
}

// allows reports whether the quota of the lease's project allows one more.
func (r *room) allows(ctx context.Context, q *Queue, l *Lease) (bool, error) {
	quota, project := r.quota[l.Stream], l.Job.ProjectID
	if quota == 0 || r.messages < quota {
		return true, nil // all together have not used it up
	}
	n, counted := r.counted[project]
	if !counted {
		var err error
		if n, err = q.waitingOf(ctx, project); err != nil {
			return false, err
		}
		r.counted[project], r.waiting[project] = n, 0
	}
	return n+r.waiting[project] < quota, nil
}

// filled takes down that the server's storage is full.
func (r *room) filled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fullTill = time.Now().Add(fullFor)
}

// look finds out how much may wait.
func (r *room) look(ctx context.Context, q *Queue) error {
	later, err := q.js.Stream(ctx, LaterStream)
	if err != nil {
		return lookupError("stream "+LaterStream, err)
	}
	r.quota, r.counted, r.waiting, r.crowded = map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]bool{}
	most, unbounded := int64(0), false
	for _, p := range Priorities() {
		stream, err := q.js.Stream(ctx, JobStream(p))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue // no jobs come from there
		}
		if err != nil {
			return lookupError("stream "+JobStream(p), err)
		}
		cfg := stream.CachedInfo().Config
		r.quota[JobStream(p)] = max(0, cfg.MaxMsgsPerSubject)
		most += max(0, cfg.MaxBytes)
		unbounded = unbounded || cfg.MaxBytes <= 0
		consumer, err := stream.Consumer(ctx, ConsumerName)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // nor from there
		}
		if err != nil {
			return lookupError("consumer "+ConsumerName+" of "+JobStream(p), err)
		}
		held := consumer.CachedInfo()
		r.crowded[JobStream(p)] = held.Config.MaxAckPending > 0 && held.NumAckPending > held.Config.MaxAckPending/2
	}
	if unbounded {
		account, err := q.js.AccountInfo(ctx)
		if err != nil {
			return fmt.Errorf("look up the account's limits: %w", err)
		}
		most = max(0, account.Limits.MaxStore) / 2 // zero: none
	}
	state := later.CachedInfo()
	r.fill(state.Config.MaxBytes, state.State.Bytes)
	if own := laterLimit(state.Config.MaxBytes); own > 0 && (most == 0 || own < most) {
		most = own
	}
	r.messages, r.bounded, r.bytes = int64(state.State.Msgs), most > 0, most-int64(state.State.Bytes)-r.granted
	return nil
}

// waitingOf counts a project's schedules.
func (q *Queue) waitingOf(ctx context.Context, project string) (int64, error) {
	stream, err := q.js.Stream(ctx, LaterStream)
	if err != nil {
		return 0, lookupError("stream "+LaterStream, err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(laterSubject(project, ">")))
	if err != nil {
		return 0, lookupError("stream "+LaterStream, err)
	}
	return int64(len(info.State.Subjects)), nil
}

// isScheduled reports whether the job was deferred already, by a worker that could not ack it.
func (q *Queue) isScheduled(ctx context.Context, l *Lease) bool {
	stream, err := q.js.Stream(ctx, LaterStream)
	if err != nil {
		return false
	}
	_, err = stream.GetLastMsgForSubject(ctx, laterSubject(l.Job.ProjectID, l.Origin()))
	return err == nil
}
