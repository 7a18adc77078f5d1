package queue

import (
	"context"
	"errors"
	"iter"
	"time"
)

// PublisherConfig says how a [Publisher] publishes. The zero value is usable.
type PublisherConfig struct {
	// RetryFor is how long a job is tried while its stream is full or the server cannot be
	// reached. Zero: 30 s. Negative: one attempt, whose answer is awaited for 5 s. What may have been stored
	// is not tried for longer than two minutes, the shortest duplicate window, after which it could be stored twice.
	RetryFor time.Duration
	// OnRetry, when set, is called with the cause before every further attempt at a publication.
	OnRetry func(error)
}

// Publisher publishes jobs and waits until the server has stored them. Make one with
// [Queue.Publisher]. Safe for concurrent use.
type Publisher struct {
	q      *Queue
	cfg    PublisherConfig
	window time.Duration // for which the server is sure to recognize what was stored
}

// Publisher makes a publisher.
func (q *Queue) Publisher(cfg PublisherConfig) *Publisher {
	if cfg.RetryFor == 0 {
		cfg.RetryFor = 30 * time.Second
	}
	if cfg.OnRetry == nil {
		cfg.OnRetry = func(error) {}
	}
	return &Publisher{q, cfg, leastWindow}
}

// Receipt says how a job was published.
type Receipt struct {
	// JobID is the job's id, made by the publisher if it had none.
	JobID string `json:"job_id"`
	// Parts is the number of messages that it became: 1, unless it is too large for one.
	Parts int `json:"parts"`
	// Duplicate is set if the server had all of it already and stored nothing new.
	Duplicate bool `json:"duplicate"`
}

// Publish validates a job, publishes it, in parts if it is too large for one message, and returns when the
// server has stored it. It tries again with the same id while the stream is full or the server cannot be
// reached, so that nothing is stored twice.
//
// The error matches [ErrInvalid], [ErrFull], [ErrTooLarge], [ErrNoStream], [ErrOtherPriority] or [ErrDenied]
// where one of these is the cause, and [ErrUncertain] if the job may have been stored; otherwise nothing
// was. With a context that has ended already nothing is sent. The receipt names the job in any case, so
// that the same job can be published again with the same id.
//
// A job with an id is looked for in the other priorities first, which costs a round trip. It is not found
// where the user may not publish, nor while another program publishes it at the same moment.
func (p *Publisher) Publish(ctx context.Context, priority Priority, job Job) (Receipt, error) {
	return p.PublishWithHeaders(ctx, priority, job, nil)
}

// PublishWithHeaders is Publish with headers that travel with the job, such as the trace context
// that an OpenTelemetry propagator injects into a propagation.HeaderCarrier: they come with the job
// whenever it is leased, also after it was split, deferred or replayed. Names that begin with Nats-
// or Chatrelay-, Status, Description, and more than 48 KiB in all match [ErrInvalid].
func (p *Publisher) PublishWithHeaders(ctx context.Context, priority Priority, job Job, headers map[string][]string) (Receipt, error) {
	out := p.prepare(priority, job, headers)
	until := p.until(time.Now())
	p.probe(ctx, out, until)
	p.send(ctx, out, until)
	return p.collect(ctx, out, until)
}

// until is when trying ends that began at that time.
func (p *Publisher) until(begun time.Time) time.Time {
	if p.cfg.RetryFor < 0 {
		return begun.Add(ackTimeout)
	}
	return begun.Add(p.cfg.RetryFor)
}

// PublishAll publishes many jobs with up to 4,096 on their way at once, and calls done for each in
// the order they came, with what Publish would return. A job that fails does not keep the others
// from being published, but after one that could not be published within RetryFor those behind it
// get one attempt only. It returns when all are done, or ctx.Err() when ctx ended before; of jobs that
// done was not called for, those may have been stored that jobs had yielded.
func (p *Publisher) PublishAll(ctx context.Context, jobs iter.Seq2[Priority, Job], done func(Receipt, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	probed, sent := make(chan *publication, asyncPending/4), make(chan *publication, asyncPending)
	go func() {
		defer close(probed)
		for priority, job := range jobs {
			if ctx.Err() != nil {
				return
			}
			out := p.prepare(priority, job, nil)
			p.probe(ctx, out, p.until(time.Now()))
			select {
			case probed <- out:
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() {
		defer close(sent)
		for out := range probed {
			p.send(ctx, out, p.until(time.Now()))
			select {
			case sent <- out:
			case <-ctx.Done():
				return
			}
		}
	}()
	patient := true
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case out, more := <-sent:
			if !more {
				return ctx.Err()
			}
			until := p.until(time.Now())
			if !patient {
				until = p.until(out.sent)
				out.once = true
			}
			receipt, err := p.collect(ctx, out, until)
			outlived := errors.Is(err, ErrUncertain) && time.Since(out.sent) > p.window // which says nothing of the others
			if err != nil && retryable(err) && !outlived {
				patient = false
			}
			done(receipt, err)
		}
	}
}
