package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Subjects on which workers talk to each other by core NATS. These messages are not stored, and
// nothing depends on their arrival.
const (
	workersSubject = "notify.workers" // a question that every worker answers with its WorkerStatus
	gatesSubject   = "notify.gates"   // a gateMessage of the worker whose gate closed
)

// WorkerStatus is one replica.
type WorkerStatus struct {
	ID   string            `json:"id"`
	Info map[string]string `json:"info"` // host, process, version and when it started
	WorkerState
	// GatesLeftOut is how many more gates there are than an answer can hold.
	GatesLeftOut int `json:"gates_left_out,omitzero"`
}

// WorkerState is what a worker says of itself at one moment.
type WorkerState struct {
	// Gates are those that are closed.
	Gates []GateStatus `json:"gates,omitempty"`
	// CallSizes are what the API was seen to take in a call, where that is less than the worker's calls
	// would have: of 500 projects at most.
	CallSizes []CallSize `json:"call_sizes,omitempty"`
	// Conditions are what keeps the worker from its work at this moment.
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is something that keeps a worker from taking in, settling or burying jobs, and lasts.
type Condition struct {
	// What cannot be done, such as "take in jobs from NOTIFY_NORMAL" or "write dead letters".
	What string `json:"what"`
	// Since is when it was first seen.
	Since time.Time `json:"since"`
	// Detail is why: one line, without recipients and message text.
	Detail string `json:"detail"`
	// Projects are those whose jobs it concerns, at most ten. Empty: all.
	Projects []string `json:"projects,omitempty"`
}

// CallSize is how many recipients the API takes in one call of a project.
type CallSize struct {
	ProjectID  string `json:"project_id"`
	Recipients int    `json:"recipients"`
}

// maxQuestions is how many questions wait for a worker's answer at most; more of them are lost.
const maxQuestions = 100

// Announce makes this process one of the workers in Status, with what state returns, until stop is
// called.
func (q *Queue) Announce(info map[string]string, state func() WorkerState) (stop func(), err error) {
	sub, err := q.nc.Subscribe(workersSubject, func(msg *nats.Msg) {
		answer, err := encodeWorker(WorkerStatus{ID: q.id, Info: info, WorkerState: state()}, time.Now())
		if err == nil {
			_ = msg.Respond(answer) // if the answer is lost, the next question is answered
		}
	})
	if err != nil {
		return nil, fmt.Errorf("announce the worker: %w", err)
	}
	_ = sub.SetPendingLimits(maxQuestions, -1)   // of a subscription that is valid
	return func() { _ = sub.Unsubscribe() }, nil // it ends with the connection at the latest
}

// What is read of the answers to one question, which anybody may send who may publish to an inbox.
const (
	maxWorkers     = 1000
	maxWorkersSize = 32 << 20 // bytes of all answers
)

// workers collects the answers to one question.
func (q *Queue) workers(ctx context.Context, patience time.Duration) ([]WorkerStatus, error) {
	inbox := q.nc.NewRespInbox()
	sub, err := q.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask the workers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := q.nc.PublishRequest(workersSubject, inbox, nil); err != nil {
		return nil, fmt.Errorf("ask the workers: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found := []WorkerStatus{}
	for size := 0; len(found) < maxWorkers && size < maxWorkersSize; {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil { // the time is over, or there is no worker
			break
		}
		size += len(msg.Data)
		if w, ok := decodeWorker(msg.Data, time.Now()); ok {
			found = append(found, w)
		}
	}
	return found, nil
}

// lossIsMeant reports whether an error says only that of what anybody may send to workers some is lost.
func lossIsMeant(sub *nats.Subscription, err error) bool {
	return sub != nil && (sub.Subject == gatesSubject || sub.Subject == workersSubject) && errors.Is(err, nats.ErrSlowConsumer)
}
