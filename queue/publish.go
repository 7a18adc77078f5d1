package queue

import (
	"context"
	"iter"
	"time"
)

// PublisherConfig says how a [Publisher] publishes. The zero value is usable.
type PublisherConfig struct {
	// MaxRecipients is how many recipients a published job may have; larger ones are split. Zero:
	// 500, the workers' default.
	MaxRecipients int
	// RetryFor is how long a job is tried while its stream is full or the server cannot be
	// reached. Zero: 30 s. Negative: one attempt.
	RetryFor time.Duration
	// OnRetry, when set, is called with the cause before every further attempt at a publication.
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

// Receipt says how a job was published.
type Receipt struct {
	// JobID is the job's id, made by the publisher if it had none.
	JobID string `json:"job_id"`
	// Parts is the number of parts that it was split into, 1 if it was not split.
	Parts int `json:"parts"`
	// Duplicate is set if the server had all of it already and stored nothing new.
	Duplicate bool `json:"duplicate"`
}

// Publish validates a job, publishes it, split if need be, and returns when the server has stored
// it. It retries with the same id while the stream is full or the server cannot be reached, so
// that nothing is stored twice. The error matches [ErrInvalid], [ErrFull], [ErrTooLarge] or
// [ErrNoStream] where one of these is the cause. The receipt names the job in any case, so that the
// same job can be published again with the same id.
func (p *Publisher) Publish(ctx context.Context, priority Priority, job Job) (Receipt, error) {
	return p.PublishWithHeaders(ctx, priority, job, nil)
}

// PublishWithHeaders is Publish with headers that travel with the job, such as the trace context
// that an OpenTelemetry propagator injects into a propagation.HeaderCarrier: they come with the job
// whenever it is leased, also after it was split, deferred or replayed. Names that begin with Nats-
// or Chatrelay-, Status, Description, and more than 48 KiB in all match [ErrInvalid].
func (p *Publisher) PublishWithHeaders(ctx context.Context, priority Priority, job Job, headers map[string][]string) (Receipt, error) {
	return p.collect(ctx, p.send(priority, job, headers), p.cfg.RetryFor > 0)
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
			case way <- p.send(priority, job, nil):
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
