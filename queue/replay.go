package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotReplayable is matched when a letter cannot become a job again: its payload was malformed
// and would be refused once more.
var ErrNotReplayable = errors.New("an invalid payload cannot be replayed; publish a corrected job, then drop the letter")

// Replay publishes the recipients of the letter at seq as a job once more, to its priority's
// stream, and then deletes the letter. A crash between the two loses nothing, and replaying again
// repeats nothing while the server remembers the id (ten minutes, jetstream.md finding 5).
// The job's expires_at is not kept: whoever replays wants it delivered.
//
// ErrNoLetter means that the letter is gone, which a repeated replay may take for done.
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
	// Either the server stored the job now, or, PubAck.Duplicate, it did so when this very letter
	// was replayed before and the deletion was not reached. Both are a job in the stream.
	_, err = q.js.PublishMsg(ctx, msg)
	if err = publishError(err); errors.Is(err, ErrTooLarge) {
		// It was as large as the stream takes and has grown by its headers. What has come due has
		// room for these.
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
	again := History{Replays: l.Replays + 1, Headers: l.Headers} // all else begins anew
	again.encode(msg.Header)
	// Not the job's own id: inside the duplicate window the server would drop the replay as
	// published already, and the deletion would lose it. This one names exactly this letter.
	msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("replay.%s.%s.%d.%d", l.Origin, l.Reason, l.Seq, l.FailedAt.UnixNano()))
	return msg, nil
}

// Drop deletes the letter at seq. ErrNoLetter means that it is gone already.
func (q *Queue) Drop(ctx context.Context, seq uint64) error {
	stream, err := q.deadStream(ctx)
	if err != nil {
		return err
	}
	return dropLetter(ctx, stream, seq)
}

func dropLetter(ctx context.Context, stream jetstream.Stream, seq uint64) error {
	err := stream.DeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("letter %d: %w", seq, ErrNoLetter)
	}
	if err != nil {
		return fmt.Errorf("delete letter %d: %w", seq, err)
	}
	return nil
}
