package queue

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// arrive makes a lease of a message and keeps it for Next.
func (j *Jobs) arrive(n *session, msg *nats.Msg) {
	s := n.source
	meta, err := msg.Metadata()
	if err != nil {
		j.cfg.OnError(fmt.Errorf("take in a job from %s: %w", s.stream, err))
		return
	}
	lease := newLease(s.stream, msg, meta)
	lease.holder, lease.from = j, s
	lease.since = j.q.Now()

	j.mu.Lock()
	defer j.mu.Unlock()
	if n.of != s.of || meta.Sequence.Consumer <= n.last {
		n.finish(nil) // of another consumer than the session is of: whose is to be found out before its jobs are taken
		_ = j.q.nc.Publish(lease.reply, []byte("-NAK"))
		return
	}
	n.last, n.heard = meta.Sequence.Consumer, time.Now()
	j.well(s)
	lease.LapseAt(lease.since.Add(s.ackWait))
	s.window.came(msg.Size(), lease.size)
	defer signal(s.wake)
	if _, done := s.removed[lease.place()]; done {
		return // it was delivered a moment before it was taken out of the stream
	}
	if earlier := s.held[lease.place()]; earlier != nil {
		// The lease lapsed, or its consumer was made anew, and the server delivered the job again, to the
		// worker that still holds it. The job is not handed out twice; the lease it has is renewed.
		earlier.renewed.Store(&lease.reply)
		earlier.standing.Store(leased)
		earlier.LapseAt(lease.since.Add(s.ackWait))
		return
	}
	if !s.window.holds(lease.size) {
		s.window.refused = lease.size
		_ = j.q.nc.Publish(lease.reply, []byte("-NAK")) // if it is lost, the job comes back when the lease lapses
		return
	}
	s.held[lease.place()] = lease
	s.window.add(lease.size)
	j.arrived = append(j.arrived, lease)
	signal(j.ready)
}

// newLease makes a lease of a delivered message. A message that is not a valid job becomes a lease
// with Invalid set, so that it can be buried.
func newLease(stream string, msg *nats.Msg, meta *nats.MsgMetadata) *Lease {
	l := &Lease{
		Stream: stream, Seq: meta.Sequence.Stream, StoredAt: meta.Timestamp,
		Behind: meta.NumPending, Redelivered: meta.NumDelivered > 1, reply: msg.Reply,
	}
	rest, due := strings.CutPrefix(msg.Subject, duePrefix)
	if !due {
		rest = strings.TrimPrefix(msg.Subject, jobsPrefix)
	}
	priority, project, _ := strings.Cut(rest, ".")
	l.Priority = Priority(priority)
	switch {
	case !due:
		l.Headers = producerHeaders(msg.Header)
	case msg.Header.Get(headerLetter) != "":
		l.bringsLetter(msg, project)
	default:
		l.History = decodeHistory(msg.Header)
	}
	if l.PublishedAt.IsZero() || l.PublishedAt.After(meta.Timestamp) { // it comes for the first time, or nobody knows
		l.PublishedAt = meta.Timestamp
	}
	if l.Letter == nil && l.Invalid == nil {
		l.Job, l.Invalid = decodeSafely(msg.Data)
		if l.Invalid == nil && l.Job.ProjectID != project {
			l.Invalid = invalid("project_id is %s, but the subject it was published to is %.120q; they must name the same project, in lower case", l.Job.ProjectID, msg.Subject)
		}
		if l.Invalid == nil && !due { // what is due was looked at when it came first
			l.Invalid = l.Job.tooFar(meta.Timestamp)
		}
	}
	if _, err := ParsePriority(priority); err != nil {
		l.Priority = Normal
		if l.Invalid == nil {
			l.Letter, l.Invalid = nil, invalid("the subject %.80q names no priority", msg.Subject)
		}
	}
	if l.Invalid != nil {
		l.Raw = msg.Data
	}
	l.size = l.memory()
	return l
}

// memory is about what the lease takes while a worker holds it, in bytes: a fixed part for the lease and all
// that refers to it, and for each recipient its place in the job, in a batch, and in the set of those who are in a
// call.
func (l *Lease) memory() int {
	n := 1024 + len(l.Job.Message) + len(l.Raw) + headersSize(l.Headers) + len(l.Job.WovenIDs)*64
	for _, id := range l.Job.WovenIDs {
		n += len(id)
	}
	if l.Letter != nil {
		n += l.Letter.memory()
	}
	return n
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
