package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors about a letter that cannot become a job again; match them with errors.Is. They concern that letter only.
var (
	// ErrNotReplayable is returned when a letter cannot become a job again: its payload was malformed and would
	// be refused once more, or its message was cut.
	ErrNotReplayable = errors.New("it cannot be replayed; publish a corrected job, then drop the letter")
	// ErrUntrusted is returned for a letter that was not written by a worker, see [DeadLetter.Untrusted]. What
	// matches ErrUntrusted matches ErrNotReplayable too.
	ErrUntrusted = fmt.Errorf("%w: it is not to be trusted", ErrNotReplayable)
)

// Replay publishes the recipients of the letter at seq as a job once more, and then deletes the letter. The job
// goes to those that are due, NOTIFY_LATER, which no quota closes, with the letter's priority. As deferring, it stops
// at half of the max_bytes that the stream may have, because a full one drops its oldest jobs. A crash
// between the two loses nothing. Replaying the same letter again within an hour publishes nothing new: so long
// the server remembers the id, unless it was restarted after the job was settled. The producer's headers are
// kept; expires_at is not, because a replay is meant to be delivered.
//
// The error matches [ErrNoLetter] if the letter is gone, which after a replay that failed may mean
// that it succeeded, [ErrNotReplayable], [ErrUntrusted], [ErrTooLarge], [ErrFull] or [ErrNoStream].
func (q *Queue) Replay(ctx context.Context, seq uint64) error {
	stream, err := q.deadStream(ctx)
	if err != nil {
		return err
	}
	l, err := getLetter(ctx, stream, seq)
	if err != nil {
		return err
	}
	msg, err := replayMessage(&l, stream.CachedInfo().Created)
	if err != nil {
		return fmt.Errorf("replay letter %d: %w", seq, err)
	}
	free, err := q.laterFree(ctx)
	if err == nil && storedSize(msg) > free {
		err = errBrim
	}
	if err != nil {
		return fmt.Errorf("replay letter %d: %w", seq, err)
	}
	// The server stored the job now, or (PubAck.Duplicate) when this letter was replayed before and
	// the deletion was not reached. Either way the job is in the stream.
	if _, err = q.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("replay letter %d: %w", seq, publishError(err))
	}
	return dropLetter(ctx, stream, seq)
}

// replayMessage is the job that the letter becomes. made is when the stream was created that holds the letter.
func replayMessage(l *DeadLetter, made time.Time) (*nats.Msg, error) {
	job := Job{ID: l.JobID, ProjectID: l.ProjectID, Message: l.Message, WovenIDs: l.WovenIDs}
	_, odd := ParsePriority(string(l.Priority))
	switch {
	case l.Untrusted != "":
		return nil, fmt.Errorf("%w: %s", ErrUntrusted, l.Untrusted)
	case l.Reason == Invalid:
		return nil, fmt.Errorf("%w: its payload is invalid", ErrNotReplayable)
	case l.MessageSize > 0:
		return nil, fmt.Errorf("%w: its message of %d bytes was cut", ErrNotReplayable, l.MessageSize)
	case odd != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotReplayable, odd)
	}
	if err := job.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReplayable, err)
	}
	data, err := job.encode()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReplayable, err)
	}
	msg := &nats.Msg{Subject: duePrefix + string(l.Priority) + "." + l.ProjectID, Data: data, Header: nats.Header{}}
	again := History{Replays: l.Replays + 1, Headers: l.Headers} // a new life: everything else starts at zero
	again.encode(msg.Header)
	// With the job's own id the server would take the replay for a duplicate inside the duplicate
	// window, and deleting the letter would lose it. This id names exactly this letter, of this stream: one that
	// was made anew begins with the same numbers.
	msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("replay.%d.%s.%s.%d.%d", made.UnixNano(), l.Origin, l.Reason, l.Seq, l.FailedAt.UnixNano()))
	return msg, nil
}

// Drop deletes the letter at seq. The error matches [ErrNoLetter] if it is gone already.
func (q *Queue) Drop(ctx context.Context, seq uint64) error {
	stream, err := q.deadStream(ctx)
	if err != nil {
		return err
	}
	return dropLetter(ctx, stream, seq)
}

func dropLetter(ctx context.Context, stream jetstream.Stream, seq uint64) error {
	err := stream.DeleteMsg(ctx, seq)
	if isGone(err) {
		return fmt.Errorf("letter %d: %w", seq, ErrNoLetter)
	}
	if err != nil {
		return fmt.Errorf("delete letter %d: %w", seq, err)
	}
	return nil
}

// isGone reports whether a message could not be deleted because it is not there.
func isGone(err error) bool {
	return errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful)
}
