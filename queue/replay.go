package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotReplayable is returned when a letter cannot become a job again because its payload was
// malformed: it would be refused once more.
var ErrNotReplayable = errors.New("an invalid payload cannot be replayed; publish a corrected job, then drop the letter")

// Replay publishes the recipients of the letter at seq as a job once more, to its priority's
// stream, and then deletes the letter. A crash between the two loses nothing. Replaying the same letter
// again within ten minutes publishes nothing new: so long the server remembers the id, unless it was
// restarted after the job was settled. The producer's headers are kept; expires_at is not, because a
// replay is meant to be delivered.
//
// The error matches [ErrNoLetter] if the letter is gone, which after a replay that failed may mean
// that it succeeded, [ErrNotReplayable], [ErrFull] or [ErrNoStream].
func (q *Queue) Replay(ctx context.Context, seq uint64) error {
	stream, err := q.deadStream(ctx)
	if err != nil {
		return err
	}
	l, err := getLetter(ctx, stream, seq)
	if err != nil {
		return err
	}
	if l.Reason == Invalid {
		return fmt.Errorf("replay letter %d: %w", seq, ErrNotReplayable)
	}
	msg, err := replayMessage(&l)
	if err != nil {
		return fmt.Errorf("replay letter %d: %w", seq, err)
	}
	// The server stored the job now, or (PubAck.Duplicate) when this letter was replayed before and
	// the deletion was not reached. Either way the job is in the stream.
	_, err = q.js.PublishMsg(ctx, msg)
	if err = publishError(err); errors.Is(err, ErrTooLarge) {
		// The job was as large as its stream allows and has grown by its headers. The stream of due
		// jobs has no limit.
		msg.Subject = duePrefix + string(l.Priority) + "." + l.ProjectID
		_, err = q.js.PublishMsg(ctx, msg)
		err = publishError(err)
	}
	if err != nil {
		return fmt.Errorf("replay letter %d: %w", seq, err)
	}
	return dropLetter(ctx, stream, seq)
}

func replayMessage(l *DeadLetter) (*nats.Msg, error) {
	job := Job{ID: l.JobID, ProjectID: l.ProjectID, Message: l.Message, WovenIDs: l.WovenIDs}
	if err := job.Validate(); err != nil {
		return nil, err
	}
	if _, err := ParsePriority(string(l.Priority)); err != nil {
		return nil, err
	}
	data, err := job.encode()
	if err != nil {
		return nil, err
	}
	msg := &nats.Msg{Subject: JobSubject(l.Priority, l.ProjectID), Data: data, Header: nats.Header{}}
	again := History{Replays: l.Replays + 1, Headers: l.Headers} // a new life: everything else starts at zero
	again.encode(msg.Header)
	// With the job's own id the server would take the replay for a duplicate inside the duplicate
	// window, and deleting the letter would lose it. This id names exactly this letter.
	msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("replay.%s.%s.%d.%d", l.Origin, l.Reason, l.Seq, l.FailedAt.UnixNano()))
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
