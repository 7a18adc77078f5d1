package queue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
	// LastError is the error of the last call, as one line, shortened to 256 bytes.
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

// Tried says of some recipients, who follow one another in a job, how many calls were made for them.
type Tried struct{ Recipients, Calls int }

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

// encode sets the headers that decodeHistory reads. Zero values get no header.
func (h *History) encode(header nats.Header) {
	own := maps.Clone(h.Headers)
	maps.DeleteFunc(own, func(name string, _ []string) bool { return !travels(name) })
	dropLargest(own)
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
		header.Set(headerError, oneLine(h.LastError, 256))
	}
}

// decodeHistory reads the headers of a job or a letter. A value that is absent or malformed is zero.
func decodeHistory(header nats.Header) (h History) {
	if _, only := header[jetstream.MsgIDHeader]; only && len(header) == 1 {
		return h // as most jobs have it
	}
	for name, values := range header {
		if len(values) == 0 {
			continue
		}
		switch value := values[0]; name {
		case headerPublished:
			h.PublishedAt, _ = time.Parse(time.RFC3339Nano, value)
		case headerAttempts:
			h.Attempts, _ = strconv.Atoi(value)
		case headerReplays:
			h.Replays, _ = strconv.Atoi(value)
		case headerAmbiguous:
			h.Ambiguous = decodeTried(value)
		case headerStatus:
			h.LastStatus, _ = strconv.Atoi(value)
		case headerSuspected:
			h.Suspected, _ = strconv.Atoi(value)
		case headerCallSize:
			h.CallSize, _ = strconv.Atoi(value)
		case headerDeferrals:
			h.Deferrals, _ = strconv.Atoi(value)
		case headerError:
			h.LastError = value
		default:
			if travels(name) {
				if h.Headers == nil {
					h.Headers = map[string][]string{}
				}
				h.Headers[name] = values
			}
		}
	}
	dropLargest(h.Headers)
	return h
}

// triedOf is what all says of some recipients of a job, from one on.
func triedOf(all []Tried, from, recipients int) (some []Tried) {
	first := 0
	for _, t := range all {
		begin, end := max(first, from), min(first+t.Recipients, from+recipients)
		if begin < end {
			some = append(some, Tried{Recipients: end - begin, Calls: t.Calls})
		}
		first += t.Recipients
	}
	return some
}

func encodeTried(all []Tried) string {
	var b strings.Builder
	for i, t := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d*%d", t.Calls, t.Recipients)
	}
	return b.String()
}

func decodeTried(value string) (all []Tried) {
	for one := range strings.SplitSeq(value, ",") {
		var t Tried
		if n, err := fmt.Sscanf(one, "%d*%d", &t.Calls, &t.Recipients); n != 2 || err != nil || t.Calls < 0 || t.Recipients < 1 {
			return nil
		}
		all = append(all, t)
	}
	return all
}

// maxHeaders bounds the producer's headers that travel, in bytes as headerSize counts them. The
// server takes 64 KiB of headers in one message, and the headers of NATS and of the history have to
// fit beside the producer's.
const maxHeaders = 48 << 10

// dropLargest leaves out the largest headers if all together exceed maxHeaders: otherwise the job could
// not be settled. Trace context is small and stays.
func dropLargest(headers map[string][]string) {
	if headersSize(headers) <= maxHeaders {
		return
	}
	names := slices.SortedFunc(maps.Keys(headers), func(a, b string) int {
		return cmp.Compare(headerSize(a, headers[a]), headerSize(b, headers[b]))
	})
	size := 0
	for _, name := range names {
		if size += headerSize(name, headers[name]); size > maxHeaders {
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
