package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Status is the state of the whole system at one moment. Its JSON form is a contract with users.
type Status struct {
	Priorities []PriorityStatus `json:"priorities"`
	// Queued, Held and Due sum up the priorities and what has come due.
	Queued uint64 `json:"queued"`
	Held   int    `json:"held"`
	// Due counts jobs that came due, and parts of large jobs, not yet taken by a worker.
	Due uint64 `json:"due"`
	// Waiting counts jobs that wait for a later time.
	Waiting uint64 `json:"waiting"`
	// Dead counts dead letters, DeadByReason by their reason.
	Dead         uint64            `json:"dead"`
	DeadByReason map[Reason]uint64 `json:"dead_by_reason"`
	// OldestAge is the age of the oldest job in the job streams, in seconds; 0 without any. What
	// waits for later, or came due, is not counted.
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

// Status asks streams and workers. It waits up to patience for workers to answer; zero: 300 ms.
func (q *Queue) Status(ctx context.Context, patience time.Duration) (Status, error) {
	if patience <= 0 {
		patience = 300 * time.Millisecond
	}
	var st Status
	now := time.Now()
	for _, p := range Priorities() {
		s, err := q.consumerState(ctx, JobStream(p), now)
		if err != nil {
			return st, err
		}
		st.Priorities = append(st.Priorities, PriorityStatus{p, s.queued, s.held, s.oldest})
		st.Queued += s.queued
		st.Held += s.held
		st.OldestAge = max(st.OldestAge, s.oldest)
	}
	due, err := q.consumerState(ctx, LaterStream, now)
	if err != nil {
		return st, err
	}
	st.Due = due.queued
	st.Held += due.held
	// The rest of that stream are schedules.
	st.Waiting = due.stored - min(due.stored, due.queued+uint64(due.held))
	st.DeadByReason = map[Reason]uint64{}
	for _, r := range Reasons() {
		n, err := q.count(ctx, deadPrefix+"*."+string(r)+".*")
		if err != nil {
			return st, err
		}
		st.DeadByReason[r] = n
		st.Dead += n
	}
	st.Workers, err = q.workers(ctx, patience)
	return st, err
}

// streamState is what one work queue holds.
type streamState struct {
	stored, queued uint64
	held           int
	oldest         float64 // seconds
}

func (q *Queue) consumerState(ctx context.Context, name string, now time.Time) (streamState, error) {
	stream, err := q.js.Stream(ctx, name)
	if err != nil {
		return streamState{}, fmt.Errorf("look up stream %s (created by: chatrelay init): %w", name, plainAPI(err))
	}
	consumer, err := stream.Consumer(ctx, consumerName)
	if err != nil {
		return streamState{}, fmt.Errorf("look up consumer of %s (created by: chatrelay init): %w", name, err)
	}
	state, info := stream.CachedInfo().State, consumer.CachedInfo()
	s := streamState{stored: state.Msgs, queued: info.NumPending, held: info.NumAckPending}
	if state.Msgs > 0 && !state.FirstTime.IsZero() {
		s.oldest = max(0, now.Sub(state.FirstTime).Seconds())
	}
	return s, nil
}

// count lets a short-lived consumer count the letters of a subject: listing the subjects would
// cost half a second at 152,000 (jetstream.md, section 1), and letters have one each.
func (q *Queue) count(ctx context.Context, subject string) (uint64, error) {
	consumer, err := q.js.CreateConsumer(ctx, DeadStream, jetstream.ConsumerConfig{
		FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: 5 * time.Second,
	})
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", subject, err)
	}
	info := consumer.CachedInfo()
	_ = q.js.DeleteConsumer(ctx, DeadStream, info.Name) // it vanishes by itself in five seconds
	return info.NumPending, nil
}
