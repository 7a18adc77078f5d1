package queue

import (
	"cmp"
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
	// LaterMaxBytes bounds NOTIFY_LATER; deferring stops at half of it, because a full one would drop jobs. At
	// least 64 MiB. Zero: no bound for a new stream, or that of a job stream if the account demands one.
	// Negative: no bound.
	LaterMaxBytes int64
	// MaxQueued bounds the queued jobs of one project in one priority. Zero: no bound for a new
	// stream. Negative: no bound.
	MaxQueued int64
	// MaxAckPending bounds the jobs of one stream that all workers together hold, for consumers that are
	// created, 1,000 or more. Zero: 200,000, or what the account allows.
	MaxAckPending int
	// Patience is how long Init waits for a cluster that has no leader or too few servers yet, and, each time,
	// for the replicas of one stream to be current. Zero: 30 seconds.
	Patience time.Duration
	// Progress, when set, is called with what Init waits for, such as "NOTIFY_BULK: 1 of 3 replicas current".
	Progress func(string)
}

// Change is what Init did to one stream.
type Change struct {
	Stream string `json:"stream"`
	Did    string `json:"did"` // created, updated or unchanged
	// Warnings are what works and is not as recommended, such as limits adapted to those of the account.
	Warnings []string `json:"warnings,omitempty"`
}

// initialization is one run of Init.
type initialization struct {
	q       *Queue
	cfg     InitConfig
	account jetstream.AccountLimits
	windows time.Duration // the longest duplicate window that the server was seen to allow; zero: not known
}

// Init creates the streams and consumers that are missing and raises limits that are lower than
// asked for. It changes nothing that could lose data, and returns an error instead. Limits that the account
// does not allow it adapts, with a warning. It may be run again at any time, and by several at once. The error
// matches [ErrTooOld] when the server is, [ErrNotReady] when an existing stream is unsafe, and
// [ErrNoJetStream] when JetStream is turned off.
func (q *Queue) Init(ctx context.Context, cfg InitConfig) ([]Change, error) {
	if cfg.Patience <= 0 {
		cfg.Patience = 30 * time.Second
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	if size := jobSizeLimit(q.nc.MaxPayload()); size < 64<<10 {
		return nil, fmt.Errorf("the server's max_payload of %d bytes is too small for dead letters; set it to 320 KiB or more (2240 KiB allow jobs of 1 MiB)", q.nc.MaxPayload())
	}
	i := &initialization{q: q, cfg: cfg}
	if err := i.lookAtServer(ctx); err != nil {
		return nil, err
	}
	if i.account.MaxBytesRequired && i.cfg.LaterMaxBytes == 0 {
		i.cfg.LaterMaxBytes = max(leastLaterBytes, q.streamConfigs(cfg)[0].MaxBytes)
	}
	var changes []Change
	var unsafe error
	for _, want := range q.streamConfigs(i.cfg) {
		did, err := i.stream(ctx, want)
		if errors.Is(err, ErrNotReady) { // the others are made all the same, and what is wrong with any is said at once
			unsafe = cmp.Or(unsafe, err)
			continue
		}
		if err != nil {
			return changes, err
		}
		changes = append(changes, Change{Stream: want.Name, Did: did})
	}
	faults, err := q.Faults(ctx)
	if err != nil {
		return changes, err
	}
	for n := range changes {
		for _, f := range faults {
			if f.Stream == changes[n].Stream && (f.Kind == FaultTight || f.Kind == FaultPaused) {
				changes[n].Warnings = append(changes[n].Warnings, f.Error())
			}
		}
	}
	return changes, cmp.Or(faultsError(faults), unsafe)
}

// stream creates one stream, or raises its limits, with its consumer, and says which it did.
func (i *initialization) stream(ctx context.Context, want jetstream.StreamConfig) (did string, err error) {
	var stream jetstream.Stream
	err = i.patiently(ctx, want.Name, func() error {
		stream, err = i.q.js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			did = "created"
			stream, err = i.create(ctx, want)
		}
		return err
	})
	if err != nil {
		return "", i.explain("create stream "+want.Name, err)
	}
	if did == "" {
		if did, err = i.update(ctx, stream, want); err != nil {
			return "", err
		}
	}
	if want.Name != DeadStream {
		if err := i.consumer(ctx, stream, want.Name); err != nil {
			return "", err
		}
	}
	return did, nil
}

// create returns the stream, and also one that another Init created in this moment with other limits.
func (i *initialization) create(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	if i.windows > 0 {
		want.Duplicates = min(want.Duplicates, i.windows)
	}
	stream, err := i.q.js.CreateStream(ctx, want)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return i.q.js.Stream(ctx, want.Name)
	}
	if err != nil && want.Duplicates > leastWindow && isWindowLimit(err) {
		i.windows = leastWindow
		return i.create(ctx, want)
	}
	return stream, err
}

// update raises the limits of a stream that exists, and waits for replicas that are new.
func (i *initialization) update(ctx context.Context, stream jetstream.Stream, want jetstream.StreamConfig) (string, error) {
	have := stream.CachedInfo().Config
	if err := faultsError(streamFaults(have, want)); err != nil {
		return "", err
	}
	raised, lower := raise(have, keep(i.cfg, have, want))
	if lower != "" {
		return "", fmt.Errorf("stream %s: %s; a limit is not lowered, because that could lose data", want.Name, lower)
	}
	if raised != nil {
		err := i.patiently(ctx, want.Name, func() error {
			_, err := i.q.js.UpdateStream(ctx, *raised)
			return err
		})
		if err != nil {
			return "", i.explain("update stream "+want.Name, err)
		}
	}
	if err := i.replicate(ctx, stream, raised != nil && raised.Replicas > have.Replicas); err != nil {
		return "", err
	}
	if raised == nil {
		return "unchanged", nil
	}
	return "updated", nil
}

func (i *initialization) consumer(ctx context.Context, stream jetstream.Stream, name string) error {
	err := i.patiently(ctx, "consumer of "+name, func() error {
		_, err := stream.Consumer(ctx, ConsumerName)
		if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
		want := consumerConfig(name)
		if i.cfg.MaxAckPending > 0 {
			want.MaxAckPending = i.cfg.MaxAckPending
		} else if most := i.account.MaxAckPending; most > 0 {
			want.MaxAckPending = min(want.MaxAckPending, most)
		}
		_, err = stream.CreateConsumer(ctx, want)
		if most, ok := ackPendingLimit(err); ok && i.cfg.MaxAckPending == 0 && most < want.MaxAckPending {
			want.MaxAckPending = most // a limit of the server, of which the account does not tell
			_, err = stream.CreateConsumer(ctx, want)
		}
		if errors.Is(err, jetstream.ErrConsumerExists) {
			return nil
		}
		return err
	})
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		return nil // that is a fault, which is reported with the others
	}
	if err != nil {
		return i.explain("create consumer "+ConsumerName+" of stream "+name, err)
	}
	return nil
}
