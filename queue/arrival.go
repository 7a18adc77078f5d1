package queue

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// newLease makes a lease of a delivered message. A message that is not a valid job becomes a lease
// with Invalid set, so that it can be buried.
func newLease(stream string, msg jetstream.Msg) (*Lease, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	l := &Lease{Stream: stream, Seq: meta.Sequence.Stream, Behind: meta.NumPending, Redelivered: meta.NumDelivered > 1, reply: msg.Reply()}
	subject := msg.Subject()
	rest, due := strings.CutPrefix(subject, duePrefix)
	if !due {
		rest = strings.TrimPrefix(subject, jobsPrefix)
	}
	priority, project, _ := strings.Cut(rest, ".")
	l.Priority = Priority(priority)
	if !due {
		l.Headers = producerHeaders(msg.Headers())
	} else if header := msg.Headers(); header.Get(headerLetter) == "" {
		l.History = decodeHistory(header)
	} else {
		l.comesWithLetter(msg.Data(), header, project)
	}
	if l.PublishedAt.IsZero() { // it comes for the first time
		l.PublishedAt = meta.Timestamp
	}
	if l.Letter == nil && l.Invalid == nil {
		l.Job, l.Invalid = decodeSafely(msg.Data())
	}
	if _, err := ParsePriority(priority); err != nil {
		l.Priority = Normal
		if l.Invalid == nil {
			l.Letter = nil
			l.Invalid = invalid("the subject %.80q names no priority", subject)
		}
	}
	if l.Letter == nil && l.Invalid == nil && l.Job.ProjectID != project {
		l.Invalid = invalid("project_id is %s, but the subject it was published to is %.120s; they must name the same project", l.Job.ProjectID, subject)
	}
	if l.Invalid != nil {
		l.Raw = msg.Data()
	}
	return l, nil
}

// decodeSafely treats a payload that makes the decoder panic as invalid. Otherwise it would crash
// one worker after another.
func decodeSafely(data []byte) (job Job, err error) {
	defer func() {
		if p := recover(); p != nil {
			job, err = Job{}, invalid("the decoder panicked: %.100s", fmt.Sprint(p))
		}
	}()
	return DecodeJob(data)
}
