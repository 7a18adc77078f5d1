package queue

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errReplaced is returned when the connection was lost and restored while acks were on their way.
var errReplaced = errors.New("the connection was replaced meanwhile")

// ackPatience bounds one attempt to have an ack confirmed. An answer that was lost with a connection
// never comes, and a worker with too many unconfirmed acks begins no calls: with 10 s here, workers
// stood still for 12 s after nats-server was killed and started again at once.
const ackPatience = 3 * time.Second

// Ack implements [Holder]. Acks of one consumer on one connection are processed in order, so all
// but the last are only sent, and the last one of each stream is confirmed. This holds only if the
// connection was the same throughout; otherwise Ack returns an error and has to be repeated.
func (j *Jobs) Ack(ctx context.Context, leases []*Lease) error {
	ctx, cancel := context.WithTimeout(ctx, ackPatience)
	defer cancel()
	before := j.q.nc.Stats().Reconnects
	ack := []byte("+ACK")
	for _, s := range j.sources {
		var last *Lease
		for _, l := range leases {
			if l.from != s {
				continue
			}
			if last != nil {
				if err := j.q.nc.Publish(last.address(), ack); err != nil {
					return fmt.Errorf("ack %s: %w", last.Origin(), err)
				}
			}
			last = l
		}
		if last == nil {
			continue
		}
		if _, err := j.q.nc.RequestWithContext(ctx, last.address(), ack); err != nil {
			return fmt.Errorf("ack %s: %w", last.Origin(), err)
		}
	}
	if j.q.nc.Stats().Reconnects != before {
		return fmt.Errorf("ack %d jobs: %w", len(leases), errReplaced)
	}
	j.forget(leases...)
	return nil
}

// Release implements [Holder]. A lapsed lease is only forgotten: the server may have given the job to
// another worker, and a release now could take it away from there.
func (j *Jobs) Release(l *Lease) {
	if !l.Lapsed(time.Now()) {
		_ = j.q.nc.Publish(l.address(), []byte("-NAK")) // if it is lost, the job comes back when the lease lapses
	}
	j.forget(l)
}
