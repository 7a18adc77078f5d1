package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Filter selects dead letters. The zero value selects all.
type Filter struct {
	Project   string    // the project id; UnknownProject for payloads that could not be decoded
	Reason    Reason    // why the recipients were given up
	Since     time.Time // failed at this time or later
	Until     time.Time // failed before this time
	Job       string    // the job id
	Recipient string    // one of the letter's recipients
}

func (f Filter) matches(l *DeadLetter) bool {
	return (f.Project == "" || l.ProjectID == f.Project) &&
		(f.Reason == "" || l.Reason == f.Reason) &&
		(f.Since.IsZero() || !l.FailedAt.Before(f.Since)) &&
		(f.Until.IsZero() || l.FailedAt.Before(f.Until)) &&
		(f.Job == "" || l.JobID == f.Job) &&
		(f.Recipient == "" || slices.Contains(l.WovenIDs, f.Recipient))
}

// subject narrows what the server sends to what may match. What is no letter is shown as invalid, whatever reason
// its subject names, and what stands on an odd subject as of an unknown project too.
func (f Filter) subject() string {
	project, reason := "*", "*"
	if f.Project != "" {
		project = f.Project
	}
	if f.Reason != "" && f.Reason != Invalid {
		reason = string(f.Reason)
	}
	if reason == "*" && (f.Project == "" || f.Project == UnknownProject) {
		return deadPrefix + ">"
	}
	return deadPrefix + project + "." + reason + ".*"
}

// idleTimeout is how long to wait for the next letter before asking the server whether any are left:
// letters that were dropped meanwhile do not come, and the server does not say so by itself.
const idleTimeout = time.Second

// DeadLetters calls yield for the letters that match, oldest first, until it returns false. It
// ends with the last letter that was there when it began. The error matches [ErrMissing] or
// [ErrNoJetStream] where one of these is the cause.
func (q *Queue) DeadLetters(ctx context.Context, f Filter, yield func(DeadLetter) bool) error {
	stream, err := q.deadStream(ctx)
	if err != nil {
		return err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{f.subject()}})
	if err != nil {
		return fmt.Errorf("read %s: %w", DeadStream, err)
	}
	defer func() { // it would vanish by itself after five minutes, but a stream takes only 1,000 consumers
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
	}()
	left := consumer.CachedInfo().NumPending
	if left == 0 {
		return nil
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(500), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("read %s: %w", DeadStream, err)
	}
	defer messages.Stop()
	last := stream.CachedInfo().State.LastSeq
	for ; left > 0; left-- {
		msg, err := nextLetter(ctx, consumer, messages)
		if err != nil {
			return fmt.Errorf("read %s: %w", DeadStream, err)
		}
		if msg == nil {
			return nil
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", DeadStream, err)
		}
		if meta.Sequence.Stream > last {
			return nil
		}
		letter := readLetter(msg.Data(), msg.Headers(), msg.Subject(), meta.Sequence.Stream)
		if f.matches(&letter) && !yield(letter) {
			return nil
		}
		// Letters that were dropped meanwhile will not come; the server's count leaves them out.
		left = min(left, meta.NumPending+1)
	}
	return nil
}

// nextLetter waits for the next letter and returns nil when none are left.
func nextLetter(ctx context.Context, consumer jetstream.Consumer, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	for none := false; ; {
		wait, cancel := context.WithTimeout(ctx, idleTimeout)
		msg, err := messages.Next(jetstream.NextContext(wait))
		silent := wait.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !silent {
			return msg, err
		}
		// Whatever the server sent before this answer arrives before it, so after a count of zero
		// one more wait is enough.
		if none {
			return nil, nil
		}
		info, err := consumer.Info(ctx)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) { // after a restart of the server the client makes it again
			return nil, err
		}
		none = err == nil && info.NumPending == 0
	}
}

// ErrNoLetter is matched when there is no dead letter at a sequence.
var ErrNoLetter = errors.New("no such dead letter")

// DeadLetter returns the letter at a sequence of NOTIFY_DEAD. The error matches [ErrNoLetter] when
// there is none.
func (q *Queue) DeadLetter(ctx context.Context, seq uint64) (DeadLetter, error) {
	stream, err := q.deadStream(ctx)
	if err != nil {
		return DeadLetter{}, err
	}
	return getLetter(ctx, stream, seq)
}

func getLetter(ctx context.Context, stream jetstream.Stream, seq uint64) (DeadLetter, error) {
	msg, err := stream.GetMsg(ctx, seq)
	if seq == 0 || errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, fmt.Errorf("letter %d: %w; it was dropped, replayed or replaced", seq, ErrNoLetter)
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read letter %d: %w", seq, err)
	}
	return readLetter(msg.Data, msg.Header, msg.Subject, msg.Sequence), nil
}

func (q *Queue) deadStream(ctx context.Context) (jetstream.Stream, error) {
	stream, err := q.js.Stream(ctx, DeadStream)
	if err != nil {
		return nil, lookupError("stream "+DeadStream, err)
	}
	return stream, nil
}
