package queue

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// answer is the future of a message that was answered in a way.
type answer struct {
	ack *jetstream.PubAck
	err error
}

func (a answer) Msg() *nats.Msg { return &nats.Msg{Subject: JobSubject(Normal, projectA)} }

func (a answer) Ok() <-chan *jetstream.PubAck {
	ch := make(chan *jetstream.PubAck, 1)
	if a.ack != nil {
		ch <- a.ack
	}
	return ch
}

func (a answer) Err() <-chan error {
	ch := make(chan error, 1)
	if a.err != nil {
		ch <- a.err
	}
	return ch
}

// What is said of a job is true of all its parts: it is a duplicate if all are, and uncertain if one is, or may be
// stored although another was refused.
func TestAnswersToTheParts(t *testing.T) {
	stored, known := answer{ack: &jetstream.PubAck{}}, answer{ack: &jetstream.PubAck{Duplicate: true}}
	refused, lost := answer{err: &jetstream.APIError{Code: 400, ErrorCode: 10060}}, answer{err: errors.New("lost")}
	for name, c := range map[string]struct {
		parts                        []jetstream.PubAckFuture
		duplicate, failed, uncertain bool
	}{
		"stored":              {[]jetstream.PubAckFuture{stored, stored}, false, false, false},
		"known":               {[]jetstream.PubAckFuture{known, known}, true, false, false},
		"one is known":        {[]jetstream.PubAckFuture{known, stored}, false, false, false},
		"refused":             {[]jetstream.PubAckFuture{refused, refused}, false, true, false},
		"one is refused":      {[]jetstream.PubAckFuture{stored, refused}, false, true, true},
		"refused, and lost":   {[]jetstream.PubAckFuture{refused, lost}, false, true, true},
		"lost, and then none": {[]jetstream.PubAckFuture{lost, refused}, false, true, true},
	} {
		p := (&Queue{denied: &denials{}}).Publisher(PublisherConfig{RetryFor: -1})
		out := &publication{once: true, futures: c.parts, msgs: make([]*nats.Msg, len(c.parts)), sent: time.Now()}
		receipt, err := p.collect(t.Context(), out, time.Now().Add(time.Minute))
		if receipt.Duplicate != c.duplicate || (err != nil) != c.failed || errors.Is(err, ErrUncertain) != c.uncertain {
			t.Errorf("%s: duplicate %v, %v", name, receipt.Duplicate, err)
		}
	}
}
