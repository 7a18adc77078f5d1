package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// PublisherConfig says how a [Publisher] publishes. The zero value is usable.
type PublisherConfig struct {
	// MaxRecipients is how many recipients a published job may have; larger ones are split. Zero:
	// 500, the workers' default.
	MaxRecipients int
	// RetryFor is how long a job is tried while its stream is full or the server cannot be
	// reached. Zero: 30 s. Negative: one attempt.
	RetryFor time.Duration
	// OnRetry, when set, is told the cause whenever a publication has to wait for another attempt.
	OnRetry func(error)
}

// Publisher publishes jobs and waits until the server has stored them. Make one with
// [Queue.Publisher]. Safe for concurrent use.
type Publisher struct {
	q   *Queue
	cfg PublisherConfig
}

// Publisher makes a publisher.
func (q *Queue) Publisher(cfg PublisherConfig) *Publisher {
	if cfg.MaxRecipients <= 0 {
		cfg.MaxRecipients = 500
	}
	if cfg.RetryFor == 0 {
		cfg.RetryFor = 30 * time.Second
	}
	if cfg.OnRetry == nil {
		cfg.OnRetry = func(error) {}
	}
	return &Publisher{q, cfg}
}

// Receipt tells what became of a published job.
type Receipt struct {
	// JobID is the job's id, made by the publisher if it had none.
	JobID string `json:"job_id"`
	// Parts is into how many parts it was split, 1 if it was not.
	Parts int `json:"parts"`
	// Duplicate says that the server had all of it already and kept nothing new.
	Duplicate bool `json:"duplicate"`
}

// ErrFull is matched when a stream is full or a project has used up its quota. Nothing was
// dropped: the job is not stored, and publishing it again later may succeed.
var ErrFull = errors.New("the stream is full")

// ErrTooLarge is matched when a job exceeds what the stream or the server takes in one message.
var ErrTooLarge = errors.New("the job is too large for one message")

// Publish validates a job, publishes it, split if need be, and returns when the server has stored
// it. It retries with the same id while the stream is full or the server cannot be reached, so
// that nothing is stored twice. The error matches [ErrInvalid], [ErrFull] or [ErrTooLarge] where
// one of these is the cause; the receipt names the job in any case, so that the same job can be
// published again with the same id.
func (p *Publisher) Publish(ctx context.Context, priority Priority, job Job) (Receipt, error) {
	return p.collect(ctx, p.send(priority, job), p.cfg.RetryFor > 0)
}

// pendingPublish is a job on its way: its messages, and the answers that are still to come.
type pendingPublish struct {
	receipt Receipt
	err     error // why it was not sent at all
	msgs    []*nats.Msg
	futures []jetstream.PubAckFuture
}

// PublishAll publishes many jobs with up to 4,096 on their way at once, and calls done for each in
// the order they came, with what Publish would return. A job that fails does not keep the others
// from being published, but after one that could not be published within RetryFor those behind it
// get one attempt only. It returns when all are done, or ctx.Err() when ctx ended before.
func (p *Publisher) PublishAll(ctx context.Context, jobs iter.Seq2[Priority, Job], done func(Receipt, error)) error {
	way := make(chan pendingPublish, asyncPending)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(way)
		for priority, job := range jobs {
			select {
			case way <- p.send(priority, job):
			case <-ctx.Done():
				return
			}
		}
	}()
	patient := p.cfg.RetryFor > 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case pending, more := <-way:
			if !more {
				return nil
			}
			receipt, err := p.collect(ctx, pending, patient)
			if err != nil && retryable(err) {
				patient = false
			}
			done(receipt, err)
		}
	}
}

// send puts a job on its way without waiting for answers.
func (p *Publisher) send(priority Priority, job Job) pendingPublish {
	out := p.prepare(priority, job)
	for _, msg := range out.msgs {
		out.futures = append(out.futures, p.publish(msg))
	}
	return out
}

// prepare makes the messages of a job; err tells why it cannot be sent.
func (p *Publisher) prepare(priority Priority, job Job) (out pendingPublish) {
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
	job.WovenIDs = unique(append([]string(nil), job.WovenIDs...)) // the caller's slice stays as it was
	chunks, err := job.chunks(p.cfg.MaxRecipients, int(jobSizeLimit(p.q.nc.MaxPayload()))-headerRoom)
	if err != nil {
		out.err = fmt.Errorf("encode job %s: %w", job.ID, err)
		return out
	}
	out.receipt.Parts = len(chunks)
	for _, chunk := range chunks {
		// All projects share a stream and its duplicate window, so ids are told apart by project.
		id := job.ProjectID + "." + job.ID
		if len(chunks) > 1 {
			// Which recipients a part has depends on limits that may differ when it is published
			// again, so the id names them; an id that named its number would let one part pass
			// for another, and lose recipients. A dot cannot stand in a job id.
			id = fmt.Sprintf("%s.%d.%d", id, chunk.first, chunk.count)
		}
		msg := &nats.Msg{Subject: JobSubject(priority, job.ProjectID), Data: chunk.data, Header: nats.Header{}}
		msg.Header.Set(jetstream.MsgIDHeader, id)
		msg.Header.Set(jetstream.ExpectedStreamHeader, JobStream(priority))
		out.msgs = append(out.msgs, msg)
	}
	return out
}

// publish never fails: what keeps a message from being sent is the future's error.
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

// retry publishes again what failed because of cause, at once and then with growing pauses. At
// once, because the answer may be old: when thousands were on their way while the stream was full
// or the server away, only the first of them should wait.
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
		return nil, plainPublish(err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Error codes of the JetStream API that mean "not now": limits of the stream (10077), of the
// server's storage (10023, 10047) or of an account (10002, 10028), and an overloaded ingest (10167).
// See errors.json of nats-server.
var fullCodes = map[jetstream.ErrorCode]bool{10077: true, 10023: true, 10047: true, 10002: true, 10028: true, 10167: true}

const codeTooLarge jetstream.ErrorCode = 10054 // message size exceeds maximum allowed

// plainPublish gives the errors that decisions hang on their types.
func plainPublish(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && fullCodes[api.ErrorCode]:
		return fmt.Errorf("%w: %s", ErrFull, api.Description)
	case errors.As(err, &api) && api.ErrorCode == codeTooLarge, errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("no stream takes it; create the streams with: chatrelay init (%w)", err)
	}
	return err
}

// retryable tells whether the same publication may succeed later: not after an answer that is
// final, nor when the connection is closed for good.
func retryable(err error) bool {
	if errors.Is(err, ErrFull) {
		return true
	}
	var api *jetstream.APIError
	if errors.As(err, &api) { // 429 and 5xx: the server is busy, or its cluster has no leader just now
		return api.Code == 429 || api.Code >= 500
	}
	return !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTooLarge) &&
		!errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, context.Canceled)
}
