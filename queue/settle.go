package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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

// maxDelay bounds how far ahead a schedule may be. The server counts in nanoseconds, which overflow in
// the year 2262, reads years of four digits only, and never fires a schedule before 1678. A job that
// has to wait longer comes back after maxDelay and is deferred again.
const maxDelay = 365 * 24 * time.Hour

// Defer implements [Holder]: the jobs are published as schedules, and once the server has
// confirmed all of these the leases are acked. The id of a schedule is made of the job's origin, so
// deferring a job again after a crash between the two stores nothing new, even if the schedule has
// fired meanwhile. The server remembers ids for an hour.
func (j *Jobs) Defer(ctx context.Context, deferrals []Deferral) error {
	msgs := make([]*nats.Msg, len(deferrals))
	leases := make([]*Lease, len(deferrals))
	now := time.Now()
	for i, d := range deferrals {
		leases[i] = d.Lease
		if d.At.Before(now) {
			d.At = now
		} else if d.At.Sub(now) > maxDelay {
			d.At = now.Add(maxDelay)
		}
		job := d.Lease.Job
		if d.WovenIDs != nil {
			job.WovenIDs = d.WovenIDs
		}
		d.History.Deferrals = d.Lease.Deferrals + 1
		msg, err := requeueMessage(d.Lease, job, d.History)
		if err != nil {
			return err
		}
		msg.Header.Set("Nats-Schedule", "@at "+d.At.UTC().Format(time.RFC3339Nano))
		msg.Header.Set("Nats-Schedule-Target", msg.Subject)
		msg.Header.Set(jetstream.MsgIDHeader, "later."+d.Lease.Origin())
		msg.Subject = laterPrefix + d.Lease.Origin()
		msgs[i] = msg
	}
	if err := j.q.publishAll(ctx, msgs); err != nil {
		return fmt.Errorf("defer %d jobs: %w", len(deferrals), err)
	}
	return j.Ack(ctx, leases)
}

// Split implements [Holder]: the parts are published as due jobs, and once the server has
// confirmed all of them the whole is acked. They go to NOTIFY_LATER because it has no limit: a
// stream full of large jobs could not take the parts of any. Their ids are made of the origin of the
// whole, so that splitting it again stores nothing new.
func (j *Jobs) Split(ctx context.Context, l *Lease, limit int) error {
	parts := l.Job.parts(limit)
	msgs := make([]*nats.Msg, len(parts))
	history := l.History
	for i, part := range parts {
		history.Ambiguous = triedOf(l.Ambiguous, i*limit, len(part.WovenIDs))
		msg, err := requeueMessage(l, part, history)
		if err != nil {
			return err
		}
		msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("part.%s.%d.%d", l.Origin(), limit, i))
		msgs[i] = msg
	}
	if err := j.q.publishAll(ctx, msgs); err != nil {
		return fmt.Errorf("split %s into %d parts: %w", l.Origin(), len(parts), err)
	}
	return j.Ack(ctx, []*Lease{l})
}

// requeueMessage is the message by which a job, or a part of it, comes back with its history.
func requeueMessage(l *Lease, job Job, history History) (*nats.Msg, error) {
	data, err := job.encode()
	if err != nil {
		return nil, fmt.Errorf("encode job of %s: %w", l.Origin(), err)
	}
	msg := &nats.Msg{Subject: duePrefix + string(l.Priority) + "." + job.ProjectID, Data: data, Header: nats.Header{}}
	history.encode(msg.Header)
	return msg, nil
}

// publishAll publishes messages and waits until the server has acknowledged all of them. After an
// error some may be stored, so publishing any of them again must do no harm.
func (q *Queue) publishAll(ctx context.Context, msgs []*nats.Msg) error {
	const atOnce = asyncPending / 4 // several callers share the client's bound
	for len(msgs) > 0 {
		n := min(atOnce, len(msgs))
		futures := make([]jetstream.PubAckFuture, n)
		for i, msg := range msgs[:n] {
			var err error
			if futures[i], err = q.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0), jetstream.WithStallWait(5*time.Second)); err != nil {
				return err
			}
		}
		for _, f := range futures {
			select {
			case <-f.Ok():
			case err := <-f.Err():
				return publishError(err)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		msgs = msgs[n:]
	}
	return nil
}
