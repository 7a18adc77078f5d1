package queue

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// publication is a job on its way: its messages, and the answers that are still to come.
type publication struct {
	receipt Receipt
	err     error // why it is not sent at all
	msgs    []*nats.Msg
	futures []jetstream.PubAckFuture
	sent    time.Time
	once    bool // it is not tried again

	project string
	named   bool   // its producer gave it an id
	probes  []ping // questions to the other priorities
}

// prepare makes the messages of a job, or sets err if it cannot be sent.
func (p *Publisher) prepare(priority Priority, job Job, headers map[string][]string) *publication {
	out := &publication{project: job.ProjectID, named: job.ID != "", once: p.cfg.RetryFor < 0}
	if !out.named {
		job.ID = nuid.Next()
	}
	out.receipt = Receipt{JobID: job.ID, Parts: 1}
	if _, out.err = ParsePriority(string(priority)); out.err != nil {
		return out
	}
	if out.err = errors.Join(job.Validate(), job.tooFar(time.Now())); out.err != nil {
		return out
	}
	if out.err = validateHeaders(headers); out.err != nil {
		return out
	}
	job.WovenIDs = unique(append([]string(nil), job.WovenIDs...)) // the caller's slice stays as it was
	// The same instant is the same content, in whatever zone it is written.
	job.DeliverAt, job.ExpiresAt = job.DeliverAt.UTC(), job.ExpiresAt.UTC()
	room := int(jobSizeLimit(p.q.nc.MaxPayload())) - headerRoom - headersSize(headers)
	chunks, err := job.chunks(min(chunkSize, room))
	if err != nil {
		out.err = fmt.Errorf("encode job %s: %w", job.ID, err)
		return out
	}
	out.receipt.Parts = len(chunks)
	whole := chunks[0].data
	if len(chunks) > 1 {
		whole, _ = job.encode() // as its parts were
	}
	content := sha256.Sum256(whole)
	// All projects share a stream and its duplicate window, so the id includes the project; and the hash,
	// so that nobody takes an id in advance who does not know the content, and that an id that comes with
	// other content is another job.
	id := job.ProjectID + "." + job.ID + "." + hex.EncodeToString(content[:16])
	for _, chunk := range chunks {
		msg := &nats.Msg{Subject: JobSubject(priority, job.ProjectID), Data: chunk.data, Header: nats.Header{}}
		maps.Copy(msg.Header, headers)
		msg.Header.Set(jetstream.MsgIDHeader, id)
		if len(chunks) > 1 {
			// The id says which recipients the part has: were it the number of the part, and the boundaries
			// different on another server, one part could be taken for a duplicate of another.
			msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s.%d.%d", id, chunk.first, chunk.count))
		}
		msg.Header.Set(jetstream.ExpectedStreamHeader, JobStream(priority))
		out.msgs = append(out.msgs, msg)
	}
	return out
}

// send puts a job on its way without waiting for answers, unless ctx has ended or the probes found it.
func (p *Publisher) send(ctx context.Context, out *publication, until time.Time) {
	if out.err == nil {
		out.err = p.found(ctx, out, until)
	}
	if out.err == nil && ctx.Err() != nil {
		out.err = fmt.Errorf("publish job %s: not sent: %w", out.receipt.JobID, ctx.Err())
	}
	out.sent = time.Now()
	if out.err != nil {
		return
	}
	for _, msg := range out.msgs {
		out.futures = append(out.futures, p.publish(msg, until))
	}
}

// publish sends a message. If it cannot be sent, the error is in the future.
func (p *Publisher) publish(msg *nats.Msg, until time.Time) jetstream.PubAckFuture {
	stall := max(time.Millisecond, time.Until(until))
	future, err := p.q.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0), jetstream.WithStallWait(stall))
	if err != nil {
		return unsent{msg, err}
	}
	return future
}

// unsent is the future of a message that could not be sent.
type unsent struct {
	msg *nats.Msg
	err error
}

func (f unsent) Ok() <-chan *jetstream.PubAck { return nil }
func (f unsent) Msg() *nats.Msg               { return f.msg }
func (f unsent) Err() <-chan error {
	ch := make(chan error, 1)
	ch <- f.err
	return ch
}

// collect waits for the answers to a job until a time, and publishes again what failed for a passing reason.
func (p *Publisher) collect(ctx context.Context, out *publication, until time.Time) (Receipt, error) {
	if out.err != nil {
		return out.receipt, out.err
	}
	var failed error
	duplicates, stored, uncertain := 0, 0, false
	for i, future := range out.futures {
		ack, err := p.await(ctx, future, out.sent, until)
		if err != nil {
			unsure := errors.Is(err, ErrUncertain)
			if !out.once && retryable(err) && ctx.Err() == nil && time.Now().Before(until) {
				ack, err = p.retry(ctx, out.msgs[i], out.sent, err, until)
			}
			uncertain = uncertain || err != nil && (unsure || errors.Is(err, ErrUncertain))
		}
		switch {
		case err != nil:
			failed = cmp.Or(failed, err)
		case ack.Duplicate:
			duplicates++
			stored++
		default:
			stored++
		}
	}
	if failed != nil {
		if (uncertain || stored > 0) && !errors.Is(failed, ErrUncertain) {
			failed = fmt.Errorf("%w; %w", failed, ErrUncertain)
		}
		return out.receipt, fmt.Errorf("publish job %s: %w", out.receipt.JobID, failed)
	}
	out.receipt.Duplicate = duplicates == len(out.msgs)
	return out.receipt, nil
}

// retry publishes a message again that was first sent at a time and failed because of cause: at once, and then with
// growing pauses. At once, because of thousands that failed together while the stream was full or the server away,
// only the first has to wait. What may have been stored is not sent after the duplicate window, as the server would
// store it again.
func (p *Publisher) retry(ctx context.Context, msg *nats.Msg, first time.Time, cause error, until time.Time) (*jetstream.PubAck, error) {
	p.cfg.OnRetry(cause)
	unsure := errors.Is(cause, ErrUncertain)
	pauses := backoff.WithContext(backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(time.Until(until))), ctx)
	ack, err := backoff.RetryNotifyWithData(func() (*jetstream.PubAck, error) {
		if ctx.Err() != nil {
			return nil, backoff.Permanent(ctx.Err())
		}
		sent := time.Now()
		if unsure && sent.Sub(first) > p.window {
			return nil, backoff.Permanent(cause)
		}
		ack, err := p.await(ctx, p.publish(msg, until), sent, until)
		if errors.Is(err, ErrUncertain) && !unsure {
			unsure, first = true, sent
		}
		if err != nil && !retryable(err) {
			err = backoff.Permanent(err)
		}
		return ack, err
	}, pauses, func(err error, _ time.Duration) {
		cause = err
		p.cfg.OnRetry(err)
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w, while it had to be tried again: %w", err, cause)
	}
	if err != nil && unsure && !errors.Is(err, ErrUncertain) {
		err = fmt.Errorf("%w; %w", err, ErrUncertain)
	}
	return ack, err
}

// await waits for the answer to a message that was sent at a time. What is not answered is uncertain.
func (p *Publisher) await(ctx context.Context, future jetstream.PubAckFuture, sent, until time.Time) (*jetstream.PubAck, error) {
	timeout := time.NewTimer(time.Until(until))
	defer timeout.Stop()
	for {
		denied, changed := p.q.denied.since(future.Msg().Subject, sent)
		if denied {
			return nil, ErrDenied
		}
		var err error
		select {
		case ack := <-future.Ok():
			return ack, nil
		case err := <-future.Err():
			_, never := future.(unsent)
			return nil, answered(publishError(err), never)
		case <-changed:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-timeout.C:
			err = jetstream.ErrAsyncPublishTimeout
		}
		select { // the answer may have come at the same time
		case ack := <-future.Ok():
			return ack, nil
		case refused := <-future.Err():
			_, never := future.(unsent)
			return nil, answered(publishError(refused), never)
		default:
			return nil, fmt.Errorf("%w; %w", err, ErrUncertain)
		}
	}
}
