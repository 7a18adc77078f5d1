package queue

import (
	"cmp"
	"maps"
	"slices"
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
	// NATS and of Chatrelay, and at most 48 KiB. Nil when there are none. Names keep their case. Not
	// to be changed.
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
	maps.Copy(header, producerHeaders(h.Headers))
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
	h.Headers = producerHeaders(header)
	return h
}

// maxHeaders bounds the producer's headers that travel, in bytes as headerSize counts them. The
// server takes 64 KiB of headers in one message, and what is added when a job comes back, or stands
// in a letter, has to fit beside them.
const maxHeaders = 48 << 10

// producerHeaders are the headers that travel with a job; nil if there are none. Where they exceed
// maxHeaders the largest stay behind: the job must be settled all the same, and trace context is
// small.
func producerHeaders(header nats.Header) map[string][]string {
	var own map[string][]string
	size := 0
	for name, values := range header {
		if travels(name) {
			if own == nil {
				own = map[string][]string{}
			}
			own[name] = values
			size += headerSize(name, values)
		}
	}
	if size <= maxHeaders {
		return own
	}
	names := slices.SortedFunc(maps.Keys(own), func(a, b string) int {
		return cmp.Compare(headerSize(a, own[a]), headerSize(b, own[b]))
	})
	size = 0
	for _, name := range names {
		if size += headerSize(name, own[name]); size > maxHeaders {
			delete(own, name)
		}
	}
	return own
}

// headerSize is at least what a header takes in a message, and about what it takes in memory.
func headerSize(name string, values []string) (n int) {
	for _, value := range values {
		n += len(name) + len(value) + 64
	}
	return n
}

func headersSize(headers map[string][]string) (n int) {
	for name, values := range headers {
		n += headerSize(name, values)
	}
	return n
}

// travels tells whether a header is the producer's own and can be sent on. Those of NATS are
// instructions to the server about one message (an id, an expected stream, a time to live), Status
// and Description mark messages of the server itself, and Chatrelay's are set from the history.
// Names that this client refuses to send stay behind too: the server, and other clients, take them.
func travels(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return name != "" && !hasPrefixFold(name, "Nats-") && !hasPrefixFold(name, "Chatrelay-") &&
		!strings.EqualFold(name, "Status") && !strings.EqualFold(name, "Description")
}

// validateHeaders tells which of a producer's headers could not travel. The error matches [ErrInvalid].
func validateHeaders(headers map[string][]string) error {
	for name := range headers {
		if !travels(name) {
			return invalid("header %.40q cannot travel with a job", name)
		}
	}
	if n := headersSize(headers); n > maxHeaders {
		return invalid("its headers take %d bytes, counting 64 for each value; at most %d can travel with a job", n, maxHeaders)
	}
	return nil
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
