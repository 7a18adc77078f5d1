package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ping is a question whether a stream knows an id.
type ping struct {
	priority Priority
	future   jetstream.PubAckFuture
	sent     time.Time
}

// probeWait bounds how long a question may hold up the job itself. It is answered in a round trip, at once
// without a stream, and never where the user may not publish: then the server's denial ends the wait.
const probeWait = time.Second

// rollupRefused is the server's error code JSStreamRollupFailedF.
const rollupRefused jetstream.ErrorCode = 10111

// question is a publication under an id that no stream takes: nats-server looks for duplicates first, alone and in
// a cluster, and then refuses a rollup of a kind that does not exist, whether the stream allows rollups or not.
// (It looks at an expected last sequence before the duplicates, unless it is in a cluster.) So it needs no
// permission but to publish, and only a duplicate is confirmed.
func question(subject, stream, id string) *nats.Msg {
	msg := &nats.Msg{Subject: subject, Header: nats.Header{}}
	msg.Header.Set(jetstream.MsgIDHeader, id)
	msg.Header.Set(jetstream.ExpectedStreamHeader, stream)
	msg.Header.Set(jetstream.MsgRollup, "none")
	return msg
}

// probe asks the other priorities whether they know the job, if its producer gave it an id: each stream
// has a duplicate window of its own.
func (p *Publisher) probe(ctx context.Context, out *publication, until time.Time) {
	if out.err != nil || !out.named || ctx.Err() != nil {
		return
	}
	first := out.msgs[0]
	for _, other := range Priorities() {
		subject := JobSubject(other, out.project)
		if subject == first.Subject {
			continue
		}
		if denied, _ := p.q.denied.since(subject, time.Now().Add(-denialHolds)); denied {
			continue
		}
		msg := question(subject, JobStream(other), first.Header.Get(jetstream.MsgIDHeader))
		sent := time.Now()
		out.probes = append(out.probes, ping{other, p.publish(msg, until), sent})
	}
}

// found waits for the answers to the probes and returns an error if one knows the job. A question without
// an answer finds nothing.
func (p *Publisher) found(ctx context.Context, out *publication, until time.Time) error {
	for _, ping := range out.probes {
		wait := ping.sent.Add(probeWait)
		if until.Before(wait) {
			wait = until
		}
		if _, err := p.await(ctx, ping.future, ping.sent, wait); err == nil { // only a duplicate is confirmed
			return fmt.Errorf("publish job %s: %w: %s", out.receipt.JobID, ErrOtherPriority, ping.priority)
		}
	}
	return nil
}

// deferredBefore reports whether a deferral of the lease's job is known already.
func (q *Queue) deferredBefore(ctx context.Context, l *Lease) (bool, error) {
	_, err := q.js.PublishMsg(ctx, question(duePrefix+string(l.Priority)+"."+l.Job.ProjectID, LaterStream, deferralID(l)))
	var refused *jetstream.APIError
	if err == nil || errors.As(err, &refused) && refused.ErrorCode == rollupRefused {
		return err == nil, nil
	}
	return false, fmt.Errorf("ask whether %s was deferred: %w", l.Origin(), err)
}
