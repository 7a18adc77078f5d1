package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxDelay bounds how far ahead a schedule may be. The server counts in nanoseconds, which overflow in
// the year 2262, reads years of four digits only, and never fires a schedule before 1678. A job that
// has to wait longer comes back after maxDelay and is deferred again.
const maxDelay = 365 * 24 * time.Hour

// Defer implements [Holder]: the jobs are published as schedules, or as due jobs if their time has come,
// and once the server has confirmed all of these the leases are acked. The id of either is made of the
// job's origin, so deferring a job again after a crash between the two stores nothing new, even if the
// schedule has fired meanwhile. The server remembers ids for an hour. Jobs that may not wait there, see [room],
// are given back to their streams for as long.
func (j *Jobs) Defer(ctx context.Context, deferrals []Deferral) error {
	p, err := j.within(ctx, deferrals)
	defer j.room.written(p.size)
	if err == nil {
		err = j.giveBack(p.back)
	}
	if err == nil {
		err = j.deferNow(ctx, p.now)
	}
	if err == nil {
		err = j.deferInPlace(ctx, p.next)
	}
	if errors.Is(err, ErrFull) {
		j.room.filled()
	}
	if err != nil {
		return fmt.Errorf("defer %d jobs: %w", len(p.now)+len(p.next), err)
	}
	if len(p.stay) > 0 {
		return fmt.Errorf("defer %d jobs: %w: too much waits in %s, and too many jobs are held", len(p.stay), ErrFull, LaterStream)
	}
	return nil
}

// deferNow publishes jobs and then acks what they come from.
func (j *Jobs) deferNow(ctx context.Context, deferrals []Deferral) error {
	if err := j.publishDeferrals(ctx, deferrals); err != nil {
		return err
	}
	leases := make([]*Lease, len(deferrals))
	for i, d := range deferrals {
		leases[i] = d.Lease
	}
	return j.Ack(ctx, leases)
}

// publishDeferrals publishes the schedules.
func (j *Jobs) publishDeferrals(ctx context.Context, deferrals []Deferral) error {
	msgs := make([]*nats.Msg, 0, len(deferrals))
	now := j.q.Now()
	for _, d := range deferrals {
		if d.At.Sub(now) > maxDelay {
			d.At = now.Add(maxDelay)
		}
		for _, letter := range d.Letters {
			msgs = append(msgs, postponed(d.Lease, letter, d.At, d.At.After(now), int(j.q.nc.MaxPayload()))...)
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
		msg.Header.Set(jetstream.MsgIDHeader, "later."+d.Lease.Origin())
		if d.At.After(now) {
			schedule(msg, laterSubject(job.ProjectID, d.Lease.Origin()), d.At)
		}
		msgs = append(msgs, msg)
	}
	return j.q.publishAll(ctx, msgs)
}

// laterSubject is where a schedule stands: a place of its own for each job, among those of its project.
func laterSubject(projectID, origin string) string { return laterPrefix + projectID + "." + origin }

// schedule makes a message one that the server publishes later, where it would go now.
func schedule(msg *nats.Msg, subject string, at time.Time) {
	msg.Header.Set(headerSchedule, scheduleAt+at.UTC().Format(time.RFC3339Nano))
	msg.Header.Set(headerTarget, msg.Subject)
	msg.Subject = subject
}

// Headers of schedules.
const (
	headerSchedule = "Nats-Schedule"
	scheduleAt     = "@at " // before a time, as RFC 3339 has it
	headerTarget   = "Nats-Schedule-Target"
)

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
