package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// pendingPublish is a job on its way: its messages, and the answers that are still to come.
type pendingPublish struct {
	receipt Receipt
	err     error // why it was not sent at all
	msgs    []*nats.Msg
	futures []jetstream.PubAckFuture
}

// send puts a job on its way without waiting for answers.
func (p *Publisher) send(priority Priority, job Job, headers map[string][]string) pendingPublish {
	out := p.prepare(priority, job, headers)
	for _, msg := range out.msgs {
		out.futures = append(out.futures, p.publish(msg))
	}
	return out
}

// prepare makes the messages of a job, or sets err if it cannot be sent.
func (p *Publisher) prepare(priority Priority, job Job, headers map[string][]string) (out pendingPublish) {
	if job.ID == "" {
		job.ID = nuid.Next()
	}
	out.receipt = Receipt{JobID: job.ID, Parts: 1}
	if _, out.err = ParsePriority(string(priority)); out.err != nil {
		return out
	}
	if out.err = job.Validate(); out.err != nil {
		return out
	}
	if out.err = validateHeaders(headers); out.err != nil {
		return out
	}
	job.WovenIDs = unique(append([]string(nil), job.WovenIDs...)) // the caller's slice stays as it was
	room := int(jobSizeLimit(p.q.nc.MaxPayload())) - headerRoom - headersSize(headers)
	chunks, err := job.chunks(p.cfg.MaxRecipients, room)
	if err != nil {
		out.err = fmt.Errorf("encode job %s: %w", job.ID, err)
		return out
	}
	out.receipt.Parts = len(chunks)
	for _, chunk := range chunks {
		// All projects share a stream and its duplicate window, so the id includes the project.
		id := job.ProjectID + "." + job.ID
		if len(chunks) > 1 {
			// The id says which recipients the part has. Were it the number of the part, and the
			// limits different when the job is published again, then one part would be taken for
			// a duplicate of another and its recipients lost. Job ids contain no dot.
			id = fmt.Sprintf("%s.%d.%d", id, chunk.first, chunk.count)
		}
		msg := &nats.Msg{Subject: JobSubject(priority, job.ProjectID), Data: chunk.data, Header: nats.Header{}}
		maps.Copy(msg.Header, headers)
		msg.Header.Set(jetstream.MsgIDHeader, id)
		msg.Header.Set(jetstream.ExpectedStreamHeader, JobStream(priority))
		out.msgs = append(out.msgs, msg)
	}
	return out
}

// publish sends a message. If it cannot be sent, the error is in the future.
func (p *Publisher) publish(msg *nats.Msg) jetstream.PubAckFuture {
	future, err := p.q.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0), jetstream.WithStallWait(10*time.Second))
	if err != nil {
		return failedFuture{msg, err}
	}
	return future
}

// failedFuture is the future of a message that could not be sent.
type failedFuture struct {
	msg *nats.Msg
	err error
}

func (f failedFuture) Ok() <-chan *jetstream.PubAck { return nil }
func (f failedFuture) Msg() *nats.Msg               { return f.msg }
func (f failedFuture) Err() <-chan error {
	ch := make(chan error, 1)
	ch <- f.err
	return ch
}

// collect waits for the answers to a job, and publishes again what failed for a passing reason.
func (p *Publisher) collect(ctx context.Context, out pendingPublish, patient bool) (Receipt, error) {
	if out.err != nil {
		return out.receipt, out.err
	}
	duplicates := 0
	for i, future := range out.futures {
		ack, err := await(ctx, future)
		if err != nil && patient && retryable(err) && ctx.Err() == nil {
			ack, err = p.retry(ctx, out.msgs[i], err)
		}
		if err != nil {
			return out.receipt, fmt.Errorf("publish job %s: %w", out.receipt.JobID, err)
		}
		if ack.Duplicate {
			duplicates++
		}
	}
	out.receipt.Duplicate = duplicates == len(out.msgs)
	return out.receipt, nil
}

// retry publishes a message again that failed because of cause: at once, and then with growing pauses.
// At once, because cause may be out of date: of thousands that failed together while the stream was
// full or the server away, only the first has to wait.
func (p *Publisher) retry(ctx context.Context, msg *nats.Msg, cause error) (*jetstream.PubAck, error) {
	p.cfg.OnRetry(cause)
	wait := backoff.WithContext(backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(p.cfg.RetryFor)), ctx)
	ack, err := backoff.RetryNotifyWithData(func() (*jetstream.PubAck, error) {
		ack, err := await(ctx, p.publish(msg))
		if err != nil && !retryable(err) {
			err = backoff.Permanent(err)
		}
		return ack, err
	}, wait, func(err error, _ time.Duration) {
		cause = err
		p.cfg.OnRetry(err)
	})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w, while it had to be tried again: %w", err, cause)
	}
	return ack, err
}

func await(ctx context.Context, future jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case ack := <-future.Ok():
		return ack, nil
	case err := <-future.Err():
		return nil, publishError(err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// retryable reports whether the same publication may succeed later. It may not after a final answer,
// nor once the connection was closed for good.
func retryable(err error) bool {
	if errors.Is(err, ErrFull) {
		return true
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok { // 429 and 5xx: the server is busy, or its cluster has no leader just now
		return api.Code == 429 || api.Code >= 500
	}
	return !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTooLarge) &&
		!errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, context.Canceled)
}
