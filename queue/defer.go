package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		err = errors.Join(j.deferNow(ctx, p.now), j.deferInPlace(ctx, p.next))
	}
	if errors.Is(err, ErrFull) {
		j.room.filled()
	}
	if err == nil && len(p.stay) > 0 {
		err = fmt.Errorf("%w: too much waits in %s, and too many jobs are held", ErrFull, LaterStream)
	}
	if err != nil {
		return fmt.Errorf("defer %d jobs: %w", len(deferrals), err)
	}
	return nil
}

// deferNow publishes jobs, and then acks what those come from that were published.
func (j *Jobs) deferNow(ctx context.Context, deferrals []Deferral) (err error) {
	var leases []*Lease
	for i, failed := range j.publishDeferrals(ctx, deferrals) {
		if failed == nil {
			leases = append(leases, deferrals[i].Lease)
		} else if err == nil || errors.Is(failed, ErrFull) {
			err = failed
		}
	}
	if failed := j.Ack(ctx, leases); failed != nil {
		err = errors.Join(err, failed)
	}
	return err
}

// publishDeferrals publishes the schedules, and gives an error or nil for each: one that cannot be stored keeps no
// others from it.
func (j *Jobs) publishDeferrals(ctx context.Context, deferrals []Deferral) []error {
	var msgs []*nats.Msg
	var owner []int // whose message it is
	now, errs := j.q.Now(), make([]error, len(deferrals))
	for i, d := range deferrals {
		own, err := d.messages(now, int(j.q.nc.MaxPayload()))
		if errs[i] = err; err != nil {
			continue
		}
		for _, msg := range own {
			msgs, owner = append(msgs, msg), append(owner, i)
		}
	}
	for m, err := range j.q.publishEach(ctx, msgs) {
		if i := owner[m]; errs[i] == nil {
			errs[i] = err
		}
	}
	return errs
}

// messages are those by which the job and its letters come back.
func (d Deferral) messages(now time.Time, maxPayload int) (msgs []*nats.Msg, err error) {
	if d.At.Sub(now) > maxDelay {
		d.At = now.Add(maxDelay)
	}
	for _, letter := range d.Letters {
		msgs = append(msgs, postponed(d.Lease, letter, d.At, d.At.After(now), maxPayload)...)
	}
	job := d.Lease.Job
	if d.WovenIDs != nil {
		if job.WovenIDs = d.WovenIDs; len(d.WovenIDs) == 0 {
			if len(msgs) == 1 { // all that is left of the job
				msgs[0].Header.Set(jetstream.MsgIDHeader, deferralID(d.Lease))
			}
			return msgs, nil
		}
	}
	d.History.Deferrals = d.Lease.Deferrals + 1
	parts, err := requeueMessages(d.Lease, job, d.History, deferralID(d.Lease), maxPayload)
	for _, p := range slices.Backward(parts) { // the one with the job's id comes last: where it is known, all are
		if d.At.After(now) {
			schedule(p.Msg, laterSubject(job.ProjectID, d.Lease.Origin()+p.which), d.At)
		}
		msgs = append(msgs, p.Msg)
	}
	return msgs, err
}

// deferralID is the id of all deferrals of one lease's job: the server stores the first of them.
func deferralID(l *Lease) string { return "later." + l.Origin() }

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

// requeued is a message by which a job comes back, and which of several it is, such as -500; empty for the first.
type requeued struct {
	*nats.Msg
	which string
}

// requeueMessages are those by which a job, or a part of it, comes back: one, unless max_payload was lowered below its
// size after it was published. The id is that of the first.
func requeueMessages(l *Lease, job Job, history History, id string, maxPayload int) (all []requeued, err error) {
	whole, err := requeueMessage(l, job, history)
	if err != nil {
		return nil, err
	}
	chunks := []chunk{{whole.Data, 0, len(job.WovenIDs)}}
	if room := maxPayload - headersSize(whole.Header) - scheduleRoom; len(whole.Data) > room {
		if chunks, err = job.chunks(room); err != nil {
			return nil, err
		}
	}
	for _, c := range chunks {
		r, own := requeued{Msg: &nats.Msg{Subject: whole.Subject, Data: c.data, Header: nats.Header{}}}, history
		if c.first > 0 {
			r.which = fmt.Sprint("-", c.first)
		}
		own.Ambiguous = triedOf(history.Ambiguous, c.first, c.count)
		own.encode(r.Header)
		r.Header.Set(jetstream.MsgIDHeader, id+r.which)
		all = append(all, r)
	}
	return all, nil
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
