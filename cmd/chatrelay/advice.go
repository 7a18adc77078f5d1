package main

import (
	"errors"
	"strings"

	"github.com/chatrelay/chatrelay/queue"
)

// advise says what a user of this program can do about an error of a package that knows neither its
// commands nor its flags; "" where there is nothing to say.
func advise(err error) string {
	switch {
	case strings.Contains(err.Error(), "chatrelay init"): // queue says it itself as long as it knows commands
		return ""
	case errors.Is(err, queue.ErrNotReady):
		return "create the streams with: chatrelay init"
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
