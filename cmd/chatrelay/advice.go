package main

import (
	"errors"

	"github.com/chatrelay/chatrelay/queue"
)

// advise says what a user of this program can do about an error; "" where it would only repeat it.
func advise(err error) string {
	switch {
	case errors.Is(err, queue.ErrNoServer):
		return "is NATS running, and is --nats-url right?"
	case errors.Is(err, queue.ErrAddress):
		return "it was given by --nats-url or CHATRELAY_NATS_URL"
	case errors.Is(err, queue.ErrConfig):
		return "see the flags and variables that begin with --nats- and CHATRELAY_NATS_"
	case errors.Is(err, queue.ErrClosed):
		return "start it again"
	case errors.Is(err, queue.ErrMissing), errors.Is(err, queue.ErrNoStream):
		return "create the streams with: chatrelay init"
	case errors.Is(err, queue.ErrTooOld):
		return "upgrade nats-server to " + queue.MinServer + " or later, 2.14 or later if you can"
	case errors.Is(err, queue.ErrNoJetStream):
		return "start nats-server with -js; or is another --nats-js-domain or --nats-js-api-prefix needed?"
	}
	return ""
}

// withAdvice is an error's text with the advice behind it.
func withAdvice(err error) string {
	if advice := advise(err); advice != "" {
		return err.Error() + "; " + advice
	}
	return err.Error()
}
