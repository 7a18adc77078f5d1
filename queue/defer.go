package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxDelay bounds how far ahead a schedule may be. The server counts in nanoseconds, which overflow in
// the year 2262, reads years of four digits only, and never fires a schedule before 1678. A job that
// has to wait longer comes back after maxDelay and is deferred again.
const maxDelay = 365 * 24 * time.Hour

// Defer implements [Holder]: the jobs are published as schedules, and once the server has
// confirmed all of these the leases are acked. The id of a schedule is made of the job's origin, so
// deferring a job again after a crash between the two stores nothing new, even if the schedule has
// fired meanwhile. The server remembers ids for an hour.
func (j *Jobs) Defer(ctx context.Context, deferrals []Deferral) error {
	msgs := make([]*nats.Msg, 0, len(deferrals))
	leases := make([]*Lease, len(deferrals))
	now := time.Now()
	for i, d := range deferrals {
		leases[i] = d.Lease
		if d.At.Before(now) {
			d.At = now
		} else if d.At.Sub(now) > maxDelay {
			d.At = now.Add(maxDelay)
		}
		for _, letter := range d.Letters {
			msgs = append(msgs, postponed(d.Lease, letter, d.At, int(j.q.nc.MaxPayload()))...)
		}
		if d.WovenIDs != nil && len(d.WovenIDs) == 0 {
			continue
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
		schedule(msg, d.At, d.Lease.Origin())
		msgs = append(msgs, msg)
	}
	if err := j.q.publishAll(ctx, msgs); err != nil {
		return fmt.Errorf("defer %d jobs: %w", len(deferrals), err)
	}
	return j.Ack(ctx, leases)
}

// schedule turns a message that is due into one that the server publishes at a time. Its id and its subject are
// made of a place.
func schedule(msg *nats.Msg, at time.Time, place string) {
	msg.Header.Set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	msg.Header.Set("Nats-Schedule-Target", msg.Subject)
	msg.Header.Set(jetstream.MsgIDHeader, "later."+place)
	msg.Subject = laterPrefix + place
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

// publishAll publishes messages and waits until the server has answered to all of them. After an
// error some may be stored, so publishing any of them again must do no harm.
func (q *Queue) publishAll(ctx context.Context, msgs []*nats.Msg) error {
	for _, err := range q.publishEach(ctx, msgs) {
		if err != nil {
			return err
		}
	}
	return nil
}
