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
		"status: streams not ready; create the streams with: chatrelay init": fmt.Errorf("status: %w", queue.ErrNotReady),
	} {
		if got := withAdvice(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
