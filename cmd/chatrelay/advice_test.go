package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/chatrelay/chatrelay/queue"
)

func TestKnownErrorsComeWithAdvice(t *testing.T) {
	for want, err := range map[string]error{
		"disk full": errors.New("disk full"),
		"status: streams not ready: missing; create the streams with: chatrelay init":                                                          fmt.Errorf("status: %w", queue.ErrMissing),
		"no NATS server answers; is NATS running, and is --nats-url right?":                                                                    queue.ErrNoServer,
		"the NATS server has JetStream turned off; start nats-server with -js; or is another --nats-js-domain or --nats-js-api-prefix needed?": queue.ErrNoJetStream,
		"status: streams not ready": fmt.Errorf("status: %w", queue.ErrNotReady),
	} {
		if got := withAdvice(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
