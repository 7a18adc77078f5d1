package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotReady is matched by what [Queue.Check] returns when streams are missing or unsuitable.
var ErrNotReady = errors.New("streams not ready")

// ErrFull is matched when a stream is full or a project has used up its quota. Nothing was
// dropped: the job is not stored, and publishing it again later may succeed.
var ErrFull = errors.New("the stream is full")

// ErrTooLarge is matched when a job exceeds what the stream or the server takes in one message.
var ErrTooLarge = errors.New("the job is too large for one message")

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

// plainAPI says in plain words that the server has no JetStream.
func plainAPI(err error) error {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fmt.Errorf("this NATS server has JetStream turned off; start it with -js (%w)", err)
	}
	return err
}
