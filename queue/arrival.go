package queue

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers that a job carries when it comes back.
const (
	headerPublished  = "Chatrelay-Published" // first publication, RFC 3339
	headerAttempts   = "Chatrelay-Attempts"
	headerError      = "Chatrelay-Error"
	headerReplays    = "Chatrelay-Replays"
	headerUnreadable = "Chatrelay-Unreadable"
	headerDeferrals  = "Chatrelay-Deferrals"
)

// newLease reads a delivered message. What cannot be read as a job is a lease too, an invalid one.
func newLease(stream string, msg jetstream.Msg) (*Lease, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	l := &Lease{Stream: stream, Seq: meta.Sequence.Stream, PublishedAt: meta.Timestamp, Behind: meta.NumPending, Redelivered: meta.NumDelivered > 1, reply: msg.Reply()}
	subject := msg.Subject()
	rest, due := strings.CutPrefix(subject, duePrefix)
	if !due {
		rest = strings.TrimPrefix(subject, jobsPrefix)
	}
	priority, project, _ := strings.Cut(rest, ".")
	l.Priority = Priority(priority)
	if header := msg.Headers(); len(header) > 0 {
		l.readHeaders(header)
	}
	l.Job, l.Invalid = decodeSafely(msg.Data())
	if _, err := ParsePriority(priority); err != nil {
		l.Priority = Normal
		if l.Invalid == nil {
			l.Invalid = invalid("the subject %.80q names no priority", subject)
		}
	}
	if l.Invalid == nil && l.Job.ProjectID != project {
		l.Invalid = invalid("project_id is %s, but the subject it was published to is %.120s; they must name the same project", l.Job.ProjectID, subject)
	}
	if l.Invalid != nil {
		l.Raw = msg.Data()
	}
	return l, nil
}

// decodeSafely takes a payload that the decoder panics over for an invalid one: otherwise every
// worker would end over it in turn.
func decodeSafely(data []byte) (job Job, err error) {
	defer func() {
		if p := recover(); p != nil {
			job, err = Job{}, invalid("the decoder panics over it: %.100s", fmt.Sprint(p))
		}
	}()
	return DecodeJob(data)
}

// readHeaders reads what was remembered of a job that came back. Most come for the first time, and
// to parse what is absent would make an error of each.
func (l *Lease) readHeaders(h nats.Header) {
	if published := h.Get(headerPublished); published != "" {
		if t, err := time.Parse(time.RFC3339Nano, published); err == nil {
			l.PublishedAt = t
		}
	}
	number := func(name string) (n int) {
		if value := h.Get(name); value != "" {
			n, _ = strconv.Atoi(value)
		}
		return n
	}
	l.Attempts, l.Unreadable = number(headerAttempts), number(headerUnreadable)
	l.Deferrals, l.Replays = number(headerDeferrals), number(headerReplays)
	l.LastError = h.Get(headerError)
}
