package queue

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
)

// GateStatus is a project's closed gate.
type GateStatus struct {
	ProjectID string    `json:"project_id"`
	Kind      string    `json:"kind"`            // of failure, such as credential
	Status    int       `json:"status,omitzero"` // of HTTP
	Until     time.Time `json:"until"`           // when it will be probed, by this process's clock
	// Narrow says that only one message of the project waits; others go on.
	Narrow bool `json:"narrow,omitzero"`
	// Detail is what the failure was, without recipients and message text, and Advice what to do about
	// it: at most 400 bytes of UTF-8 each. They are another process's words.
	Detail string `json:"detail,omitzero"`
	Advice string `json:"advice,omitzero"`
	// Shared says that it holds back all projects that call with the same credential.
	Shared bool `json:"shared,omitzero"`
	// From is the ID of the worker by whose word it closed. Empty: by a call of the worker's own.
	From string `json:"from,omitzero"`
}

// PublishGate announces to all workers that a project's gate closed for a reason that concerns them
// too, and for how long from now; why it failed and what to do about it stays here. A worker that misses
// it finds out by a call of its own.
func (q *Queue) PublishGate(g GateStatus) error {
	g.From, g.Detail, g.Advice = q.id, "", ""
	data, err := json.Marshal(gateMessageOf(g, time.Now()))
	if err != nil {
		return fmt.Errorf("publish a closed gate: %w", err)
	}
	return q.nc.Publish(gatesSubject, data)
}

const (
	maxGateMessage = 4 << 10 // bytes; what PublishGate sends is less
	maxGatesHeard  = 1000    // messages that wait to be heard; more of them are lost
)

// SubscribeGates calls heard for each gate that another worker announces with PublishGate, with Until
// by this process's clock, and refused for each message that is no such announcement. They are called
// one at a time, until unsubscribe is called. Whoever may publish there can make announcements: what
// heard is given is bounded, and From may be anybody's.
func (q *Queue) SubscribeGates(heard func(GateStatus), refused func(error)) (unsubscribe func(), err error) {
	sub, err := q.nc.Subscribe(gatesSubject, func(msg *nats.Msg) {
		switch g, err := decodeGate(msg.Data, time.Now()); {
		case err != nil:
			refused(err)
		case g.From != q.id:
			heard(g)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen to other workers: %w", err)
	}
	_ = sub.SetPendingLimits(maxGatesHeard, -1) // of a subscription that is valid
	return func() { _ = sub.Unsubscribe() }, nil
}

// errNotGate is why a message on gatesSubject is refused.
var errNotGate = errors.New("a message is no announcement of a closed gate")

// decodeGate reads what PublishGate sent. A gate that is not closed for a time to come is refused: only a
// worker itself has its gates probed.
func decodeGate(data []byte, now time.Time) (GateStatus, error) {
	if len(data) > maxGateMessage {
		return GateStatus{}, fmt.Errorf("%w: it has %d bytes", errNotGate, len(data))
	}
	var m gateMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return GateStatus{}, fmt.Errorf("%w: it is not JSON of the right form", errNotGate)
	}
	switch {
	case !validProject(m.ProjectID):
		return GateStatus{}, fmt.Errorf("%w: it has no project", errNotGate)
	case !validWorker(m.From):
		return GateStatus{}, fmt.Errorf("%w: it does not say whose it is", errNotGate)
	case duration(m.WaitMS) <= 0:
		return GateStatus{}, fmt.Errorf("%w: it does not say for how long", errNotGate)
	case m.Status < 0 || m.Status > 999:
		return GateStatus{}, fmt.Errorf("%w: it has no status of HTTP", errNotGate)
	}
	return m.received(now), nil
}

// validWorker reports whether a text may be the ID of a worker, and may stand in a log.
func validWorker(id string) bool {
	for _, c := range []byte(id) {
		if !('0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z') {
			return false
		}
	}
	return id != "" && len(id) <= 64
}
