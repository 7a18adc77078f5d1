package queue

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Status is the state of the whole system at one moment. Its JSON form is a contract with users.
type Status struct {
	Priorities []PriorityStatus `json:"priorities"`
	// Queued counts the jobs in the job streams that no worker has taken yet, Held those leased to
	// workers.
	Queued uint64 `json:"queued"`
	Held   int    `json:"held"`
	// Due counts deferred jobs whose time has come, and parts of large jobs, that no worker has
	// taken yet.
	Due uint64 `json:"due"`
	// Scheduled counts jobs that wait for a later time.
	Scheduled uint64 `json:"waiting"`
	// Dead counts dead letters, DeadByReason by their reason, with "other" for those that were not written by a
	// worker: of an unknown reason, or on a subject of another form.
	Dead         uint64            `json:"dead"`
	DeadByReason map[Reason]uint64 `json:"dead_by_reason"`
	// OldestAge is the age of the oldest job in the job streams, in seconds; 0 without any. Deferred
	// jobs are not counted.
	OldestAge float64 `json:"oldest_age_seconds"`
	// Workers are the replicas that answered.
	Workers []WorkerStatus `json:"workers"`
}

// PriorityStatus is one job stream's share of a Status.
type PriorityStatus struct {
	Priority  Priority `json:"priority"`
	Queued    uint64   `json:"queued"` // not yet taken by a worker
	Held      int      `json:"held"`   // leased to workers
	OldestAge float64  `json:"oldest_age_seconds"`
}

// other stands for the reasons that are none of [Reasons].
const other Reason = "other"

// Status asks streams and workers. It waits up to patience for workers to answer; zero: 300 ms. The
// error matches [ErrMissing] or [ErrNoJetStream] where one of these is the cause.
func (q *Queue) Status(ctx context.Context, patience time.Duration) (Status, error) {
	if patience <= 0 {
		patience = 300 * time.Millisecond
	}
	var st Status
	for _, p := range Priorities() {
		s, err := q.Backlog(ctx, JobStream(p))
		if err != nil {
			return st, err
		}
		st.Priorities = append(st.Priorities, PriorityStatus{p, s.Queued, s.Held, s.OldestAge})
		st.Queued += s.Queued
		st.Held += s.Held
		st.OldestAge = max(st.OldestAge, s.OldestAge)
	}
	due, err := q.Backlog(ctx, LaterStream)
	if err != nil {
		return st, err
	}
	st.Due = due.Queued
	st.Held += due.Held
	// All other messages in that stream are schedules.
	st.Scheduled = due.Stored - min(due.Stored, due.Queued+uint64(due.Held))
	if err := q.countDead(ctx, &st); err != nil {
		return st, err
	}
	st.Workers, err = q.workers(ctx, patience)
	return st, err
}

// countDead counts the letters by their reason, and those that have none of these as other.
func (q *Queue) countDead(ctx context.Context, st *Status) error {
	st.DeadByReason = map[Reason]uint64{}
	for _, r := range Reasons() {
		n, err := q.count(ctx, deadPrefix+"*."+string(r)+".*")
		if err != nil {
			return err
		}
		st.DeadByReason[r] = n
		st.Dead += n
	}
	all, err := q.count(ctx, deadPrefix+">")
	if err != nil {
		return err
	}
	if all > st.Dead {
		st.DeadByReason[other] = all - st.Dead
		st.Dead = all
	}
	return nil
}

// Backlog is what one work queue holds.
type Backlog struct {
	Stored uint64 // all jobs in the stream, schedules included
	Queued uint64 // of them, those not yet taken by a worker
	Held   int    // of them, those leased to workers
	// OldestAge of a stored job, in seconds; 0 without any.
	OldestAge float64
}

// Backlog returns what a job stream or [LaterStream] holds, by two short requests. The error matches
// [ErrMissing] or [ErrNoJetStream] where one of these is the cause.
func (q *Queue) Backlog(ctx context.Context, name string) (Backlog, error) {
	stream, err := q.js.Stream(ctx, name)
	if err != nil {
		return Backlog{}, lookupError("stream "+name, err)
	}
	consumer, err := stream.Consumer(ctx, ConsumerName)
	if err != nil {
		return Backlog{}, lookupError("consumer "+ConsumerName+" of "+name, err)
	}
	state, info := stream.CachedInfo().State, consumer.CachedInfo()
	b := Backlog{Stored: state.Msgs, Queued: info.NumPending, Held: info.NumAckPending}
	if state.Msgs > 0 && !state.FirstTime.IsZero() {
		b.OldestAge = max(0, stream.CachedInfo().TimeStamp.Sub(state.FirstTime).Seconds())
	}
	return b, nil
}

// count lets a short-lived consumer count the letters of a subject. Asking the stream for its subjects
// takes half a second with 152,000 of them, and every letter has its own.
func (q *Queue) count(ctx context.Context, subject string) (uint64, error) {
	consumer, err := q.js.CreateConsumer(ctx, DeadStream, jetstream.ConsumerConfig{
		FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: 5 * time.Second,
	})
	if err != nil {
		return 0, lookupError("stream "+DeadStream, err)
	}
	info := consumer.CachedInfo()
	_ = q.js.DeleteConsumer(ctx, DeadStream, info.Name) // it vanishes by itself in five seconds
	return info.NumPending, nil
}
