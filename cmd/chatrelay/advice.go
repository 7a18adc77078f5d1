package main

import (
	"errors"
	"strings"

	"github.com/chatrelay/chatrelay/queue"
)

// advices say what to do with this program about errors of packages that know neither its commands
// nor its flags. The first that matches counts.
var advices = []struct {
	err  error
	what string
}{
	{queue.ErrNotReady, "create them with: chatrelay init"},
}

// advised is the text of an error with what to do about it.
func advised(err error) string {
	text := err.Error()
	for _, a := range advices {
		if errors.Is(err, a.err) {
			if strings.Contains(text, "chatrelay init") { // queue says it itself as long as it knows commands
				return text
			}
			return text + "; " + a.what
		}
	}
	return text
}
