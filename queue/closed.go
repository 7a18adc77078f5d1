package queue

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// ErrClosed is what [Queue.Err] matches when the server ended the connection in a way that the client
// does not undo, as when a message was larger than a max_payload that was lowered meanwhile.
var ErrClosed = errors.New("the NATS server closed the connection for good")

// end is how a connection ended.
type end struct {
	wanted atomic.Bool // by Close
	once   sync.Once
	closed chan struct{}
	cause  error // set before closed is closed
}

func (e *end) close(cause error) {
	e.once.Do(func() {
		if !e.wanted.Load() {
			e.cause = fmt.Errorf("%w (%w)", ErrClosed, cmp.Or(cause, nats.ErrConnectionClosed))
		}
		close(e.closed)
	})
}

// Closed is closed when the connection has ended for good: by [Queue.Close], or because the server ended
// it and the client does not make it anew. [Queue.Err] says why. Nothing that needs the connection
// succeeds afterwards; only another [Connect] helps.
func (q *Queue) Closed() <-chan struct{} { return q.end.closed }

// Err is nil until Closed is closed. Then it says why; nil when it was by [Queue.Close]. Otherwise the
// error matches [ErrClosed].
func (q *Queue) Err() error {
	select {
	case <-q.end.closed:
		return q.end.cause
	default:
		return nil
	}
}
