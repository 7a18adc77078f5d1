package queue

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors about the server and its streams; match them with errors.Is.
var (
	// ErrNoServer is returned by [Connect] when no server answers at the address.
	ErrNoServer = errors.New("no NATS server answers")
	// ErrAddress is returned by [Connect] when the address of the server cannot be read.
	ErrAddress = errors.New("malformed NATS address")
	// ErrConfig is returned by [Connect] when what [Config] says contradicts itself, or a file that it
	// names cannot be used.
	ErrConfig = errors.New("unusable NATS configuration")
	// ErrNoJetStream is returned by every method that looks up a stream when the server has
	// JetStream turned off, or turned off for this account.
	ErrNoJetStream = errors.New("the NATS server has JetStream turned off")
	// ErrNotReady is returned by [Queue.Check], [Queue.Init] and [Queue.Jobs] when a stream or
	// consumer is missing or unsuitable.
	ErrNotReady = errors.New("streams not ready")
	// ErrMissing is returned by every method that looks up a stream or consumer that is missing.
	// [Queue.Init] creates it. What matches ErrMissing matches ErrNotReady too.
	ErrMissing = fmt.Errorf("%w: missing", ErrNotReady)
	// ErrTooOld is returned by [Queue.Init] when the server is older than [MinServer]; nothing was created.
	ErrTooOld = errors.New("the NATS server is too old")
	// ErrNoStream is returned by every method that publishes when no stream takes the message: the
	// stream is missing, or the server has JetStream turned off.
	ErrNoStream = errors.New("no stream takes it")
)

// ErrFull is returned when a stream is full or a project has used up its quota. The message was not
// stored, and publishing it again later may succeed.
var ErrFull = errors.New("the stream is full")

// ErrTooLarge is returned when a job exceeds what the stream or the server takes in one message.
var ErrTooLarge = errors.New("the job is too large for one message")

// ErrUncertain is returned when a job may have been stored although its publication failed: the answer did
// not come, or only some of its parts were stored. Publishing the same job again, with the id that the
// receipt names, stores nothing twice. A failure that does not match ErrUncertain stored nothing.
var ErrUncertain = errors.New("it may have been stored all the same")

// ErrOtherPriority is returned when the same job was published with another priority before, within the
// duplicate window. Nothing was stored.
var ErrOtherPriority = errors.New("published already with another priority")

// ErrDenied is returned when the user may not publish to the subject. Nothing was stored.
var ErrDenied = errors.New("the NATS user may not publish to the subject")

// connectError gives a failure to connect its type. An error of the network layer that is neither a
// failed dial nor a timeout, such as a refused TLS handshake, means that a server did answer.
func connectError(err error) error {
	var system *net.OpError
	if errors.Is(err, nats.ErrNoServers) || errors.As(err, &system) && (system.Op == "dial" || system.Timeout()) {
		return fmt.Errorf("%w (%w)", ErrNoServer, err)
	}
	return err
}

// lookupError says what could not be looked up, and gives the failure its type.
func lookupError(what string, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("%w: %s", ErrMissing, what)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("look up %s: %w (%w)", what, ErrNoJetStream, err)
	}
	return fmt.Errorf("look up %s: %w", what, err)
}

// Error codes of the JetStream API that mean "not now": limits of the stream (10077), of the
// server's storage (10023, 10047) or of an account (10002, 10028), and too many messages waiting to
// be stored (10167). They are listed in errors.json of nats-server.
var fullCodes = map[jetstream.ErrorCode]bool{10077: true, 10023: true, 10047: true, 10002: true, 10028: true, 10167: true}

const codeTooLarge jetstream.ErrorCode = 10054 // message size exceeds maximum allowed

// publishError gives a failure to publish its type.
func publishError(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && fullCodes[api.ErrorCode]:
		return fmt.Errorf("%w: %s", ErrFull, api.Description)
	case errors.As(err, &api) && api.ErrorCode == codeTooLarge, errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w (%w)", ErrNoStream, err)
	}
	return err
}

// conflict is the server's answer while an earlier attempt at the same publication is being stored.
const conflict jetstream.ErrorCode = 10158

// answered marks a failure as uncertain, unless the message was never sent or the server refused it.
func answered(err error, never bool) error {
	api, refused := errors.AsType[*jetstream.APIError](err)
	if never || errors.Is(err, ErrNoStream) || errors.Is(err, ErrFull) || errors.Is(err, ErrTooLarge) || refused && api.ErrorCode != conflict {
		return err
	}
	return fmt.Errorf("%w; %w", err, ErrUncertain)
}

// retryable reports whether the same publication may succeed later. It may not after a final answer,
// nor once the connection was closed for good.
func retryable(err error) bool {
	if errors.Is(err, ErrFull) {
		return true
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok { // 429 and 5xx: the server is busy, or its cluster has no leader just now
		return api.Code == 429 || api.Code >= 500 || api.ErrorCode == conflict
	}
	for _, final := range []error{ErrInvalid, ErrTooLarge, ErrDenied, ErrOtherPriority, nats.ErrConnectionClosed, context.Canceled} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}
