package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// FaultKind says what a fault does.
type FaultKind string

// The kinds of faults.
const (
	// FaultMissing: the stream or consumer does not exist.
	FaultMissing FaultKind = "missing"
	// FaultUnsafe: jobs may be lost, stranded or delivered twice.
	FaultUnsafe FaultKind = "unsafe"
	// FaultPaused: an operator has stopped delivery for a time; nothing is lost.
	FaultPaused FaultKind = "paused"
	// FaultTight: a limit is lower than recommended, as that of an account may demand; it works.
	FaultTight FaultKind = "tight"
)

// Fault is one thing about a stream or its consumer that is not as it should be. It is an error: that of an
// unsafe or missing one matches [ErrNotReady], and that of a missing one [ErrMissing].
type Fault struct {
	Kind FaultKind
	// Stream concerned; Consumer says that it is about the consumer of that.
	Stream   string
	Consumer bool
	// Text says what is, what must be, and why: "its max_age is 1h0m0s, must be 0: …". Empty if missing.
	Text string
	// Remedy is the command of the nats CLI that puts it right, or words if it takes more than one. Empty if
	// missing.
	Remedy string
}

// Place is the stream, such as NOTIFY_BULK, or "consumer worker of NOTIFY_BULK".
func (f Fault) Place() string {
	if f.Consumer {
		return "consumer " + ConsumerName + " of " + f.Stream
	}
	return f.Stream
}

// Words are what is wrong, without the place: [Fault.Text], or that it is missing.
func (f Fault) Words() string {
	if f.Kind == FaultMissing {
		return "it is missing"
	}
	return f.Text
}

// Error implements error.
func (f Fault) Error() string {
	switch f.Kind {
	case FaultMissing:
		return ErrMissing.Error() + ": " + f.Place()
	case FaultUnsafe:
		return fmt.Sprintf("%v: %s: %s (%s)", ErrNotReady, f.Place(), f.Text, f.Remedy)
	}
	return fmt.Sprintf("%s: %s (%s)", f.Place(), f.Text, f.Remedy)
}

// Is implements what errors.Is asks.
func (f Fault) Is(target error) bool {
	return target == ErrNotReady && (f.Kind == FaultUnsafe || f.Kind == FaultMissing) || target == ErrMissing && f.Kind == FaultMissing
}

// Check returns an error that names every stream and consumer that is missing or unsafe, with what puts it
// right, and changes nothing. The error matches [ErrNotReady], and also [ErrMissing] if something is missing.
// It matches [ErrNoJetStream] if nothing could be looked up.
func (q *Queue) Check(ctx context.Context) error {
	faults, err := q.Faults(ctx)
	if err != nil {
		return err
	}
	return faultsError(faults)
}

// faultsError joins the faults with which nothing can work; what is missing stands in one line.
func faultsError(faults []Fault) error {
	var errs []error
	var missing []string
	for _, f := range faults {
		switch f.Kind {
		case FaultMissing:
			missing = append(missing, f.Place())
		case FaultUnsafe:
			errs = append(errs, f)
		}
	}
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("%w: %s", ErrMissing, strings.Join(missing, ", ")))
	}
	return errors.Join(errs...)
}

// Faults looks at every stream and consumer, and returns what is not as it should be, in a fixed order: none if
// all is well. It changes nothing. The error is that something could not be looked up.
func (q *Queue) Faults(ctx context.Context) ([]Fault, error) {
	var all []Fault
	for _, want := range q.streamConfigs(InitConfig{}) {
		stream, err := q.js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			all = append(all, Fault{Kind: FaultMissing, Stream: want.Name})
			continue
		}
		if err != nil {
			return nil, lookupError("stream "+want.Name, err)
		}
		all = append(all, streamFaults(stream.CachedInfo().Config, want)...)
		if want.Name == DeadStream {
			continue
		}
		faults, err := q.lookAtConsumer(ctx, stream, want)
		if err != nil {
			return nil, err
		}
		all = append(all, faults...)
	}
	return all, nil
}

func (q *Queue) lookAtConsumer(ctx context.Context, stream jetstream.Stream, want jetstream.StreamConfig) ([]Fault, error) {
	consumer, err := stream.Consumer(ctx, ConsumerName)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return []Fault{{Kind: FaultMissing, Stream: want.Name, Consumer: true}}, nil
	case errors.Is(err, jetstream.ErrNotPullConsumer):
		return []Fault{{FaultUnsafe, want.Name, true, "it has a deliver_subject, must have none: workers pull", anewConsumer(want.Name)}}, nil
	case err != nil:
		return nil, lookupError("consumer "+ConsumerName+" of "+want.Name, err)
	}
	return consumerFaults(consumer.CachedInfo(), want.Name, q.nc.MaxPayload()), nil
}
