package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
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
	// OldestAge is the age of the oldest job that is queued or held, in seconds; 0 without any.
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

// WorkerStatus is one replica.
type WorkerStatus struct {
	ID   string            `json:"id"`
	Info map[string]string `json:"info"` // host, version and when it started
}

// workerService is the name under which workers answer; any tool that speaks the NATS services
// protocol (nats micro ls) finds them too.
const workerService = "chatrelay-worker"

// Announce makes this process show up as a worker in Status until the returned function is called.
// A version that is not a semantic one, such as dev, is announced as 0.0.0; info can hold it.
func (q *Queue) Announce(version string, info map[string]string) (stop func(), err error) {
	cfg := micro.Config{
		Name: workerService, Version: strings.TrimPrefix(version, "v"), Description: "Chatrelay worker replica", Metadata: info,
	}
	service, err := micro.AddService(q.nc, cfg)
	if errors.Is(err, micro.ErrConfigValidation) {
		cfg.Version = "0.0.0"
		service, err = micro.AddService(q.nc, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("announce the worker: %w", err)
	}
	return func() { _ = service.Stop() }, nil // it ends with the connection at the latest
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
	if state.Msgs > 0 {
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

// workers collects the answers to one ping.
func (q *Queue) workers(ctx context.Context, patience time.Duration) ([]WorkerStatus, error) {
	subject, err := micro.ControlSubject(micro.PingVerb, workerService, "")
	if err != nil {
		return nil, err
	}
	inbox := q.nc.NewRespInbox()
	sub, err := q.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask the workers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := q.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: inbox}); err != nil {
		return nil, fmt.Errorf("ask the workers: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found := []WorkerStatus{}
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil { // the time is over, or nobody is there
			return found, nil
		}
		if w, ok := decodePing(msg.Data); ok {
			found = append(found, w)
		}
	}
}

func decodePing(data []byte) (WorkerStatus, bool) {
	var ping micro.Ping
	if json.Unmarshal(data, &ping) != nil || ping.ID == "" {
		return WorkerStatus{}, false
	}
	return WorkerStatus{ID: ping.ID, Info: ping.Metadata}, true
}
