package worker

import (
	"context"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// settle records what is known of tasks: it buries who failed, and only then ends the leases, by
// acking those whose recipients all have an outcome and by deferring the rest of the others. It is
// the one function that acks. After an error it may be called again with the same tasks: a letter
// is replaced by itself, and what is acked already stays so.
func settle(ctx context.Context, graveyard Graveyard, now time.Time, tasks []*task) ([]queue.DeadLetter, error) {
	var letters []queue.DeadLetter
	var done []*queue.Lease
	var rest []queue.Deferral
	for _, t := range tasks {
		if !t.gone && t.open > 0 && !t.ending && t.lease.Lapsed(now) {
			t.gone = true // to publish the job anew would make two of it
		}
		if t.gone { // somebody else has the job: nothing said here is his
			t.lease.Release()
			continue
		}
		letters = append(letters, t.letters(now)...)
		if t.open == 0 {
			done = append(done, t.lease)
		} else {
			rest = append(rest, queue.Deferral{Lease: t.lease, At: t.back, WovenIDs: t.rest, Attempts: t.attempts, LastError: t.lastErr})
		}
	}
	if len(letters) > 0 {
		if err := graveyard.Bury(ctx, letters); err != nil {
			return nil, err
		}
	}
	for _, t := range tasks {
		t.ending = true
	}
	if err := queue.Defer(ctx, rest); err != nil {
		return nil, err
	}
	return letters, queue.Ack(ctx, done)
}
