package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bury stores dead letters. When it returns no error the server has acknowledged every one of them;
// otherwise failed says which, by their index, it is not known to have stored: one that fails does not keep the
// others from being stored. Burying a letter of the same project, reason and origin again replaces it, so a
// settlement that is repeated leaves one letter. The error matches [ErrFull] when NOTIFY_DEAD is full, and
// [ErrNoStream] when it is missing.
//
// Every letter can be stored, whatever it holds. Text that is not UTF-8 is mended, a project that is not a UUID
// becomes [UnknownProject], and what is too large for one message of the server is shortened: first the details
// of the failures, then the producer's headers. Recipients who do not fit in one letter are written in several,
// and a message that does not fit with a single recipient is cut, see [DeadLetter.MessageSize].
func (q *Queue) Bury(ctx context.Context, letters []DeadLetter) (failed []int, err error) {
	room := int(q.nc.MaxPayload()) // which may have been lowered below what the job had
	pending := make([]int, len(letters))
	for i := range pending {
		pending[i] = i
	}
	for {
		errs := q.bury(ctx, letters, pending, room)
		var again []int
		var reasons []error
		seen := map[string]bool{}
		for n, i := range pending {
			switch {
			case errs[n] == nil:
			case errors.Is(errs[n], ErrTooLarge) && room > leastLetter:
				again = append(again, i) // the stream takes less than the server, or the server less than it said
			default:
				failed = append(failed, i)
				if text := errs[n].Error(); !seen[text] {
					seen[text] = true
					reasons = append(reasons, fmt.Errorf("bury job %s: %w", letters[i].Origin, errs[n]))
				}
			}
		}
		err = errors.Join(err, errors.Join(reasons...))
		if len(again) == 0 {
			return failed, err
		}
		pending, room = again, max(leastLetter, room/2)
	}
}

// bury stores some of the letters in messages of at most room bytes, and gives an error or nil for each.
func (q *Queue) bury(ctx context.Context, letters []DeadLetter, which []int, room int) []error {
	var msgs []*nats.Msg
	var owner []int // whose message it is, an index of which
	for n, i := range which {
		for _, part := range letters[i].fit(room) {
			msgs = append(msgs, &nats.Msg{Subject: part.subject(), Data: part.data, Header: part.header})
			owner = append(owner, n)
		}
	}
	errs := make([]error, len(which))
	for m, err := range q.publishEach(ctx, msgs) {
		if n := owner[m]; errs[n] == nil {
			errs[n] = err
		}
	}
	return errs
}

// publishEach publishes messages, waits for the server's answer to every one, and gives an error or nil for
// each. What failed may be stored all the same, so publishing it again must do no harm.
func (q *Queue) publishEach(ctx context.Context, msgs []*nats.Msg) []error {
	const atOnce = asyncPending / 4 // several callers share the client's bound
	errs := make([]error, len(msgs))
	for first := 0; first < len(msgs); first += atOnce {
		some := msgs[first:min(first+atOnce, len(msgs))]
		futures := make([]jetstream.PubAckFuture, len(some))
		var stalled error
		for i, msg := range some {
			if stalled != nil {
				errs[first+i] = stalled // as this one would be, after as long a wait
				continue
			}
			var err error
			if futures[i], err = q.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0), jetstream.WithStallWait(5*time.Second)); err != nil {
				futures[i] = unsent{msg, err}
			}
			if errors.Is(err, jetstream.ErrTooManyStalledMsgs) || ctx.Err() != nil {
				stalled = errors.Join(err, ctx.Err())
			}
		}
		for i, future := range futures {
			if future != nil {
				errs[first+i] = answer(ctx, future)
			}
		}
	}
	return errs
}

// answer waits for the server's answer to one publication.
func answer(ctx context.Context, future jetstream.PubAckFuture) error {
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return publishError(err)
	case <-ctx.Done():
		return ctx.Err()
	}
}
