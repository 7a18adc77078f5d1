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

// History is what is remembered of a job when it is deferred, split, buried or replayed. It is kept in
// the headers of the job's message, or of the dead letter's; the JSON of a letter repeats part of it.
type History struct {
	// Attempts counts the calls that were made for the job.
	Attempts int `json:"attempts"`
	// PublishedAt is when the job was first published. A replay counts as a first publication.
	PublishedAt time.Time `json:"published_at"`
	// Replays counts how often the job came back from the dead letters.
	Replays int `json:"replays"`
	// LastError is the error of the last call, as one line of at most 256 bytes.
	LastError string `json:"-"`
	// LastStatus is the HTTP status of the last call that failed. Zero: it had none.
	LastStatus int `json:"-"`
	// Ambiguous counts, for the recipients of the job in their order, the calls that failed and may have
	// been delivered all the same. Empty: there was none.
	Ambiguous []Tried `json:"-"`
	// Suspected counts the calls that failed in a row, since others of the project were seen to succeed.
	Suspected int `json:"-"`
	// CallSize is how many recipients a call with this job may have, because it failed with more. Zero:
	// as many as any.
	CallSize int `json:"-"`
	// Deferrals counts how often the job was deferred.
	Deferrals int `json:"-"`
	// Headers are the producer's headers, such as traceparent: all but those of NATS and of
	// Chatrelay, and at most 48 KiB (the largest are left out). Names are spelled as the producer
	// spelled them, such as Traceparent. Nil if there are none. Do not change the map.
	Headers map[string][]string `json:"-"`
}

// Headers that hold the history.
const (
	headerPublished = "Chatrelay-Published" // RFC 3339
	headerAttempts  = "Chatrelay-Attempts"
	headerError     = "Chatrelay-Error"
	headerStatus    = "Chatrelay-Status"
	headerReplays   = "Chatrelay-Replays"
	headerAmbiguous = "Chatrelay-Ambiguous" // such as 2*150,1*350: two calls for 150 recipients, one for the other 350
	headerSuspected = "Chatrelay-Suspected"
	headerCallSize  = "Chatrelay-Call-Size"
	headerDeferrals = "Chatrelay-Deferrals"
)

const (
	// maxCount bounds each number of a history.
	maxCount = 1_000_000
	// maxLastError leaves room for the ellipsis of what is shortened to 256 bytes.
	maxLastError = 253
)

// encode sets the headers that decodeHistory reads. Zero values get no header.
func (h *History) encode(header nats.Header) {
	own := maps.Clone(h.Headers)
	maps.DeleteFunc(own, func(name string, _ []string) bool { return !travels(name) })
	dropLargest(own, maxHeaders)
	maps.Copy(header, own)
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
	if len(h.Ambiguous) > 0 {
		header.Set(headerAmbiguous, encodeTried(h.Ambiguous))
	}
	number(headerStatus, h.LastStatus)
	number(headerSuspected, h.Suspected)
	number(headerCallSize, h.CallSize)
	number(headerDeferrals, h.Deferrals)
	if h.LastError != "" {
		header.Set(headerError, oneLine(h.LastError, maxLastError))
	}
}

// decodeHistory reads the headers of a job that came by way of NOTIFY_LATER, or of a letter. Producers may publish
// to neither, so nobody but a worker sets these; what a producer sends with a job is read by producerHeaders. A
// value that is absent or malformed is zero, and all are clamped.
func decodeHistory(header nats.Header) (h History) {
	h.Headers = producerHeaders(header)
	number := func(name string) int {
		n, _ := strconv.Atoi(header.Get(name))
		return n
	}
	h.PublishedAt, _ = time.Parse(time.RFC3339Nano, header.Get(headerPublished))
	h.Attempts, h.Replays, h.LastStatus = number(headerAttempts), number(headerReplays), number(headerStatus)
	h.Suspected, h.CallSize, h.Deferrals = number(headerSuspected), number(headerCallSize), number(headerDeferrals)
	h.Ambiguous = decodeTried(header.Get(headerAmbiguous))
	h.LastError = header.Get(headerError)
	h.clamp()
	return h
}

// clamp brings what was read, or what a caller set, within its bounds.
func (h *History) clamp() {
	for _, n := range []*int{&h.Attempts, &h.Replays, &h.Suspected, &h.CallSize, &h.Deferrals} {
		*n = min(max(*n, 0), maxCount)
	}
	if h.LastStatus < 100 || h.LastStatus > 999 {
		h.LastStatus = 0
	}
	if h.PublishedAt = encodable(h.PublishedAt); h.PublishedAt.After(time.Now().Add(24 * time.Hour)) { // NATS's clock may be ahead
		h.PublishedAt = time.Time{} // nobody knows; a lease takes the time at which its message was stored
	}
	h.LastError = oneLine(h.LastError, maxLastError)
	h.Ambiguous = boundTried(h.Ambiguous)
}

// producerHeaders are those of a job's headers that belong to its producer and travel with it. Nil if there are none.
func producerHeaders(header nats.Header) (own map[string][]string) {
	for name, values := range header {
		if len(values) == 0 || !travels(name) {
			continue
		}
		if own == nil {
			own = map[string][]string{}
		}
		own[name] = values
	}
	dropLargest(own, maxHeaders)
	return own
}

// maxHeaders bounds the producer's headers that travel, in bytes as headerSize counts them. The
// server takes 64 KiB of headers in one message, and the headers of NATS and of the history have to
// fit beside the producer's.
const maxHeaders = 48 << 10

// dropLargest leaves out the largest headers if all together exceed most: with more than maxHeaders the job
// could not be settled. Trace context is small and stays.
func dropLargest(headers map[string][]string, most int) {
	if headersSize(headers) <= most {
		return
	}
	names := slices.SortedFunc(maps.Keys(headers), func(a, b string) int {
		return cmp.Compare(headerSize(a, headers[a]), headerSize(b, headers[b]))
	})
	size := 0
	for _, name := range names {
		if size += headerSize(name, headers[name]); size > most {
			delete(headers, name)
		}
	}
}

// headerSize is an upper bound of what a header takes in a message, and about what it takes in memory.
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

// travels reports whether a header belongs to the producer and can be sent on. Headers of NATS are
// instructions to the server about one message (an id, an expected stream, a time to live), Status
// and Description mark messages of the server itself, and Chatrelay's are set from the history. Names
// that nats.go refuses to send are left out too; the server and other clients accept them.
func travels(name string) bool {
	if name == "" || hasPrefixFold(name, "Nats-") || hasPrefixFold(name, "Chatrelay-") ||
		strings.EqualFold(name, "Status") || strings.EqualFold(name, "Description") {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", c)
	})
}

// validateHeaders returns an error that matches [ErrInvalid] if not all of a producer's headers can
// travel.
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
