package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// Subjects on which workers talk to each other by core NATS. These messages are not stored, and
// nothing depends on their arrival.
const (
	workersSubject = "notify.workers" // a question that every worker answers with its WorkerStatus
	gatesSubject   = "notify.gates"   // a GateStatus of the worker whose gate closed
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

// GateStatus is a project's closed gate.
type GateStatus struct {
	ProjectID string    `json:"project_id"`
	Kind      string    `json:"kind"`            // of failure, such as credential
	Status    int       `json:"status,omitzero"` // of HTTP
	Until     time.Time `json:"until"`           // when it will be probed
	// Narrow says that only one message of the project waits; others go on.
	Narrow bool `json:"narrow,omitzero"`
	// Detail is what the failure was, without recipients and message text, and Advice what to do about
	// it: at most 400 bytes of UTF-8 each. They are another process's words.
	Detail string `json:"detail,omitzero"`
	Advice string `json:"advice,omitzero"`
	// From is the worker that published it.
	From string `json:"from,omitzero"`
}

const (
	// maxGates is how many gates an answer holds, so that it stays below 1 MiB, the largest message that
	// a server takes by default. Who looks at more of them looks at one cause.
	maxGates = 500

	maxWords = 400 // bytes of a text that another process wrote
)

// bounded is g with texts that are not too long, and can be sent.
func (g GateStatus) bounded() GateStatus {
	for _, text := range []*string{&g.ProjectID, &g.Kind, &g.Detail, &g.Advice} {
		*text = clip(*text)
	}
	return g
}

// bounded is w with texts that are not too long, and not too many gates.
func (w WorkerStatus) bounded() WorkerStatus {
	more := max(0, len(w.Gates)-maxGates)
	gates := make([]GateStatus, 0, len(w.Gates)-more)
	for _, g := range w.Gates[:len(w.Gates)-more] {
		gates = append(gates, g.bounded())
	}
	w.Gates, w.GatesLeftOut = gates, w.GatesLeftOut+more
	w.CallSizes = slices.Clone(w.CallSizes[:min(len(w.CallSizes), maxGates)])
	for i := range w.CallSizes {
		w.CallSizes[i].ProjectID = clip(w.CallSizes[i].ProjectID)
	}
	info := make(map[string]string, len(w.Info))
	for k, v := range w.Info {
		info[clip(k)] = clip(v)
	}
	w.Info = info
	return w
}

// clip cuts text at maxWords, between characters.
func clip(text string) string {
	if len(text) > maxWords {
		text = text[:maxWords]
	}
	return strings.ToValidUTF8(text, "")
}

// Announce makes this process one of the workers in Status, with what state returns, until stop is
// called.
func (q *Queue) Announce(info map[string]string, state func() WorkerState) (stop func(), err error) {
	id := nuid.Next()
	sub, err := q.nc.Subscribe(workersSubject, func(msg *nats.Msg) {
		answer, err := json.Marshal(WorkerStatus{ID: id, Info: info, WorkerState: state()}.bounded())
		if err == nil {
			_ = msg.Respond(answer) // if the answer is lost, the next question is answered
		}
	})
	if err != nil {
		return nil, fmt.Errorf("announce the worker: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // it ends with the connection at the latest
}

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
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil { // the time is over, or there is no worker
			return found, nil
		}
		var w WorkerStatus
		if json.Unmarshal(msg.Data, &w) == nil && w.ID != "" {
			found = append(found, w.bounded())
		}
	}
}

// PublishGate announces to all workers that a project's gate closed for a reason that concerns them
// too. A worker that misses it finds out by a call of its own.
func (q *Queue) PublishGate(g GateStatus) error {
	g = g.bounded()
	g.From = q.id
	data, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("publish a closed gate: %w", err)
	}
	return q.nc.Publish(gatesSubject, data)
}

// SubscribeGates calls heard for each gate that another worker announces with PublishGate, one at a
// time, until unsubscribe is called.
func (q *Queue) SubscribeGates(heard func(GateStatus)) (unsubscribe func(), err error) {
	sub, err := q.nc.Subscribe(gatesSubject, func(msg *nats.Msg) {
		var g GateStatus
		if json.Unmarshal(msg.Data, &g) == nil && g.From != q.id && validProject(g.ProjectID) {
			heard(g.bounded())
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen to other workers: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
