package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// InitConfig says how [Queue.Init] creates what is missing. A zero value leaves existing streams as
// they are, so Init can be run again without repeating the limits of the first run.
type InitConfig struct {
	// Replicas of every stream, 1, 3 or 5. Zero: 1 for a new stream.
	Replicas int
	// MaxBytes bounds each job stream and the dead letters; a full stream refuses new messages and
	// drops none.
	// Zero: 1 GiB for a new stream. Negative: only the server's own limits.
	MaxBytes int64
	// MaxQueued bounds the queued jobs of one project in one priority. Zero: no bound for a new
	// stream. Negative: no bound.
	MaxQueued int64
}

// Change is what Init did to one stream.
type Change struct {
	Stream string `json:"stream"`
	Did    string `json:"did"` // created, updated or unchanged
}

// Init creates the streams and consumers that are missing and raises limits that are lower than
// asked for. It changes nothing that could lose data, and returns an error instead. It may be run
// again at any time. The error matches [ErrNotReady] when an existing stream is unsuitable, and
// [ErrNoJetStream] when JetStream is turned off.
func (q *Queue) Init(ctx context.Context, cfg InitConfig) ([]Change, error) {
	if size := jobSizeLimit(q.nc.MaxPayload()); size < 64<<10 {
		return nil, fmt.Errorf("the server's max_payload of %d bytes is too small for dead letters; set it to 320 KiB or more (2240 KiB allow jobs of 1 MiB)", q.nc.MaxPayload())
	}
	var changes []Change
	for _, want := range q.streamConfigs(cfg) {
		did, err := q.initStream(ctx, cfg, want)
		if err != nil {
			return changes, err
		}
		changes = append(changes, Change{want.Name, did})
	}
	return changes, q.Check(ctx)
}

func (q *Queue) initStream(ctx context.Context, cfg InitConfig, want jetstream.StreamConfig) (string, error) {
	stream, err := q.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if want.FirstSeq, err = q.firstSeq(ctx, want); err != nil {
			return "", err
		}
		if stream, err = q.js.CreateStream(ctx, want); err != nil {
			return "", fmt.Errorf("create stream %s: %w", want.Name, err)
		}
		return "created", q.initConsumer(ctx, stream, want.Name)
	case err != nil:
		return "", lookupError("stream "+want.Name, err)
	}
	have := stream.CachedInfo().Config
	if faults := streamFaults(have, want); len(faults) > 0 {
		return "", unsuitable(want.Name, faults)
	}
	raised, lower := raise(have, keep(cfg, have, want))
	if lower != "" {
		return "", fmt.Errorf("stream %s: %s; a limit is not lowered, because that could lose data", want.Name, lower)
	}
	if raised == nil {
		return "unchanged", q.initConsumer(ctx, stream, want.Name)
	}
	if stream, err = q.js.UpdateStream(ctx, *raised); err != nil {
		return "", fmt.Errorf("update stream %s: %w", want.Name, err)
	}
	return "updated", q.initConsumer(ctx, stream, want.Name)
}

// firstSeq is the first sequence of a new job stream: the time in milliseconds if there are letters
// or schedules about jobs of an earlier stream of that name. An origin such as normal-4711 must never
// name two different jobs, or the letter or schedule of one would replace that of the other.
func (q *Queue) firstSeq(ctx context.Context, want jetstream.StreamConfig) (uint64, error) {
	if want.Retention != jetstream.WorkQueuePolicy {
		return 0, nil
	}
	for _, name := range []string{DeadStream, LaterStream} {
		switch _, err := q.js.Stream(ctx, name); {
		case err == nil:
			return uint64(time.Now().UnixMilli()), nil
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return 0, lookupError("stream "+name, err)
		}
	}
	return 0, nil
}

func (q *Queue) initConsumer(ctx context.Context, stream jetstream.Stream, name string) error {
	if name == DeadStream {
		return nil
	}
	_, err := stream.Consumer(ctx, ConsumerName)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = stream.CreateConsumer(ctx, consumerConfig(name))
	}
	if err != nil {
		return fmt.Errorf("create consumer %s of stream %s: %w", ConsumerName, name, err)
	}
	return nil
}

// keep returns want with the limits that were not asked for as they are now.
func keep(cfg InitConfig, have, want jetstream.StreamConfig) jetstream.StreamConfig {
	if cfg.Replicas == 0 {
		want.Replicas = have.Replicas
	}
	if cfg.MaxBytes == 0 {
		want.MaxBytes = have.MaxBytes
	}
	if cfg.MaxQueued == 0 {
		want.MaxMsgsPerSubject, want.DiscardNewPerSubject = have.MaxMsgsPerSubject, have.DiscardNewPerSubject
	}
	return want
}

// raise returns the configuration with the wanted limits where these are higher, or nil if there is
// nothing to change. If a wanted limit is lower, lower says which.
func raise(have, want jetstream.StreamConfig) (raised *jetstream.StreamConfig, lower string) {
	cfg := have
	unlimited := func(n int64) int64 {
		if n <= 0 {
			return 1<<63 - 1
		}
		return n
	}
	switch h, w := unlimited(have.MaxBytes), unlimited(want.MaxBytes); {
	case w < h:
		return nil, fmt.Sprintf("its max_bytes is %d, asked for %d", have.MaxBytes, want.MaxBytes)
	case w > h:
		cfg.MaxBytes, raised = want.MaxBytes, &cfg
	}
	if want.Name != DeadStream {
		switch h, w := unlimited(have.MaxMsgsPerSubject), unlimited(want.MaxMsgsPerSubject); {
		case w < h:
			return nil, fmt.Sprintf("its quota per project is %d, asked for %d", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
		case w > h:
			cfg.MaxMsgsPerSubject, cfg.DiscardNewPerSubject, raised = want.MaxMsgsPerSubject, want.DiscardNewPerSubject, &cfg
		}
	}
	if have.MaxMsgSize > 0 && want.MaxMsgSize > have.MaxMsgSize { // the server's max_payload was raised
		cfg.MaxMsgSize, raised = want.MaxMsgSize, &cfg
	}
	switch {
	case want.Replicas < have.Replicas:
		return nil, fmt.Sprintf("it has %d replicas, asked for %d", have.Replicas, want.Replicas)
	case want.Replicas > have.Replicas:
		cfg.Replicas, raised = want.Replicas, &cfg
	}
	return raised, ""
}
