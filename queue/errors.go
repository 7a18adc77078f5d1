package queue

import (
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What stands in the way of a whole queue, to be matched with errors.Is. Errors about one job or
// one letter are beside the functions that return them.
var (
	// ErrNoServer is matched when nobody answers at the address. [Connect] returns it.
	ErrNoServer = errors.New("no NATS server answers")
	// ErrNoJetStream is matched when the server, or this account on it, has JetStream turned off.
	// Every function that looks up a stream returns it.
	ErrNoJetStream = errors.New("the NATS server has JetStream turned off")
	// ErrNotReady is matched when streams or consumers are missing or unsuitable. [Queue.Check],
	// and every function that looks up a stream, return it.
	ErrNotReady = errors.New("streams not ready")
	// ErrMissing is matched, and ErrNotReady too, when streams or consumers are missing.
	// [Queue.Init] creates these.
	ErrMissing = fmt.Errorf("%w: missing", ErrNotReady)
	// ErrNoStream is matched when no stream takes what is published: it is missing, or its server
	// has JetStream turned off.
	ErrNoStream = errors.New("no stream takes it")
)

// ErrFull is matched when a stream is full or a project has used up its quota. Nothing was
// dropped: the job is not stored, and publishing it again later may succeed.
var ErrFull = errors.New("the stream is full")

// ErrTooLarge is matched when a job exceeds what the stream or the server takes in one message.
var ErrTooLarge = errors.New("the job is too large for one message")

// connectError gives a failure to connect its type. Errors of the system are about the way to the
// server, but for those that a server caused by its answer.
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
// server's storage (10023, 10047) or of an account (10002, 10028), and an overloaded ingest (10167).
// See errors.json of nats-server.
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
