package queue

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// History is what is remembered of a job across its lives: it travels with the job when the job is
// deferred, split, buried or replayed. In a dead letter the members of the JSON form hold part of
// it; all of it stands in the headers of the message.
type History struct {
	// Attempts counts the calls that were made for the job.
	Attempts int `json:"attempts"`
	// PublishedAt is when the job was first published; a replay publishes it anew.
	PublishedAt time.Time `json:"published_at"`
	// Replays counts how often the job came back from the dead letters.
	Replays int `json:"replays"`
	// LastError is what the last call said. One line; longer ones are shortened to 256 bytes.
	LastError string `json:"-"`
	// Unreadable counts those of the calls whose answer may have meant delivery and could not be
	// read.
	Unreadable int `json:"-"`
	// Deferrals counts how often the job was deferred.
	Deferrals int `json:"-"`
	// Headers are what the producer sent along with the job, such as traceparent: all but those of
	// NATS and of Chatrelay. Nil when there are none. Not to be changed.
	Headers map[string][]string `json:"-"`
}

// Headers that hold the history of a job that comes back.
const (
	headerPublished  = "Chatrelay-Published" // RFC 3339
	headerAttempts   = "Chatrelay-Attempts"
	headerError      = "Chatrelay-Error"
	headerReplays    = "Chatrelay-Replays"
	headerUnreadable = "Chatrelay-Unreadable"
	headerDeferrals  = "Chatrelay-Deferrals"
)

// encode sets the headers that decodeHistory reads. What is zero has none.
func (h *History) encode(header nats.Header) {
	for name, values := range h.Headers {
		if travels(name) {
			header[name] = values
		}
	}
	if !h.PublishedAt.IsZero() {
		header.Set(headerPublished, h.PublishedAt.UTC().Format(time.RFC3339Nano))
	}
	number := func(name string, n int) {
		if n > 0 {
			header.Set(name, strconv.Itoa(n))
		}
	}
	number(headerAttempts, h.Attempts)
	number(headerReplays, h.Replays)
	number(headerUnreadable, h.Unreadable)
	number(headerDeferrals, h.Deferrals)
	if h.LastError != "" {
		header.Set(headerError, oneLine(h.LastError, 256))
	}
}

// decodeHistory reads the headers of a job or a letter. What is absent or cannot be read is zero.
func decodeHistory(header nats.Header) (h History) {
	// Most jobs come for the first time, and to parse what is absent would make an error of each.
	number := func(name string) (n int) {
		if value := header.Get(name); value != "" {
			n, _ = strconv.Atoi(value)
		}
		return n
	}
	if published := header.Get(headerPublished); published != "" {
		h.PublishedAt, _ = time.Parse(time.RFC3339Nano, published)
	}
	h.Attempts, h.Replays = number(headerAttempts), number(headerReplays)
	h.Unreadable, h.Deferrals = number(headerUnreadable), number(headerDeferrals)
	h.LastError = header.Get(headerError)
	for name, values := range header {
		if travels(name) {
			if h.Headers == nil {
				h.Headers = map[string][]string{}
			}
			h.Headers[name] = values
		}
	}
	return h
}

// travels tells whether a header is the producer's own. Those of NATS are instructions to the
// server about one message (an id, an expected stream, a time to live), Status and Description mark
// messages of the server itself, and Chatrelay's are set from the history.
func travels(name string) bool {
	return !hasPrefixFold(name, "Nats-") && !hasPrefixFold(name, "Chatrelay-") &&
		!strings.EqualFold(name, "Status") && !strings.EqualFold(name, "Description")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
