package queue

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// How jobs are pulled. The server says every second that it still has the pull; after three seconds without a
// word the pull is given up.
const (
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
	pullSilence   = 3 * pullHeartbeat
	pullGrace     = 2 * time.Second
)

// pullLimits are what a consumer allows in one pull, and what it must allow for every job to come.
type pullLimits struct {
	jobs, bytes int
	expires     time.Duration
	// largest is the size of the largest message: a pull for fewer bytes would never bring it, nor what is
	// behind it.
	largest int
}

// limitsOf reads them from the configuration of stream and consumer.
func limitsOf(stream jetstream.StreamConfig, consumer jetstream.ConsumerConfig, maxPayload int64) pullLimits {
	const unbounded = 1 << 30
	l := pullLimits{jobs: pullMessages, bytes: unbounded, expires: pullExpiry, largest: int(maxPayload)}
	if stream.MaxMsgSize > 0 {
		l.largest = min(l.largest, int(stream.MaxMsgSize))
	}
	l.largest += 64 << 10 // subject, reply, and what the server counts besides
	if consumer.MaxRequestBatch > 0 {
		l.jobs = min(l.jobs, consumer.MaxRequestBatch)
	}
	if consumer.MaxRequestMaxBytes > 0 {
		l.bytes = consumer.MaxRequestMaxBytes
	}
	if consumer.MaxRequestExpires > 0 {
		l.expires = min(l.expires, consumer.MaxRequestExpires)
	}
	return l
}

// mostPayload is the largest max_payload that a server can have: "Configuring NATS Server" in the NATS documentation.
const mostPayload = 64 << 20

// raise allows for larger messages than limitsOf knows of: max_payload bounds what is published, and was higher
// once. It reports whether it did.
func (l *pullLimits) raise() bool {
	if l.largest >= min(l.bytes, mostPayload) {
		return false
	}
	l.largest = min(2*l.largest, mostPayload+64<<10)
	return true
}

// payload is the request as JetStream's API takes it: "Pull next messages" in the NATS documentation.
func (r request) payload(l pullLimits) []byte {
	heartbeat := min(pullHeartbeat, l.expires/3) // the server demands less than half of expires
	return fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`, r.jobs, r.bytes, l.expires, heartbeat)
}

func pullName(n int) string { return strconv.Itoa(n) }

// word is what the server says about a pull.
type word struct {
	status int
	text   string
	left   int // jobs of the pull that do not come; -1: all
}

// serverWord reads a message that is no job: one without the reply subject on which a job is acked. Nobody but
// the server sends those to a pull's inbox, whose name others cannot guess; whatever a producer writes in the
// headers of a job comes with such a reply.
func serverWord(msg *nats.Msg) word {
	w := word{text: oneLine(msg.Header.Get("Description"), 120), left: -1}
	w.status, _ = strconv.Atoi(msg.Header.Get("Status"))
	if n, err := strconv.Atoi(msg.Header.Get("Nats-Pending-Messages")); err == nil && n >= 0 {
		w.left = n
	}
	return w
}

// isJob tells a job from the server's word.
func isJob(msg *nats.Msg) bool { return strings.HasPrefix(msg.Reply, "$JS.ACK.") }

// kind is what a word means for the intake.
type wordKind int

const (
	alive    wordKind = iota // the pull is under way
	pullOver                 // as pulls end
	tooMuch                  // more was asked for than is allowed
	tooLarge                 // the next job has more bytes than were asked for
	moved                    // the consumer is gone, or elsewhere
	hopeless                 // it will be no better soon
)

func (w word) kind() wordKind {
	switch {
	case w.status == 100:
		return alive
	case w.status == 404, w.status == 408:
		return pullOver
	case w.status == 409 && strings.HasPrefix(w.text, "Exceeded MaxRequest"):
		return tooMuch
	case w.status == 409 && strings.HasPrefix(w.text, "Message Size"):
		return tooLarge
	case w.status == 409 && strings.HasPrefix(w.text, "Batch Completed"):
		return pullOver
	case w.status == 409 && (w.text == "Consumer Deleted" || w.text == "Leadership Change" || w.text == "Server Shutdown"), w.status == 503:
		return moved
	}
	return hopeless
}

// lower adapts the limits to a word of kind tooMuch, which ends in the limit: a server may have one of its own
// that is younger than the consumer. It reports whether it did.
func (l *pullLimits) lower(w word) bool {
	what, limit, _ := strings.Cut(strings.TrimPrefix(w.text, "Exceeded MaxRequest"), " of ")
	switch what {
	case "Batch", "MaxBytes":
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 {
			return false
		}
		if what == "Batch" {
			l.jobs = min(l.jobs, n)
		} else {
			l.bytes = min(l.bytes, n)
		}
	case "Expires":
		d, err := time.ParseDuration(limit)
		if err != nil || d <= 0 {
			return false
		}
		l.expires = min(l.expires, d)
	default:
		return false
	}
	return true
}
