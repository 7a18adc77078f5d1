package worker

import (
	"context"
	"errors"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// settleTimeout bounds each step of an attempt to record outcomes: burying, and ending leases. It
// counts even when the worker is stopping and its calls have been cut off.
const settleTimeout = 5 * time.Second

// settle records what is known of tasks: it buries who failed, and only then ends the leases, by
// acking those whose recipients all have an outcome and by deferring the rest of the others. It is
// the one function that acks. Tasks without a letter are settled even if burying fails. What is
// left is to be settled again: a letter is replaced by itself, and what is acked stays so.
func settle(ctx context.Context, graveyard Graveyard, now time.Time, tasks []*task) (letters []queue.DeadLetter, left []*task, err error) {
	var marked, clean []*task // with letters, and without
	for _, t := range tasks {
		if t.state == returning && !t.tried {
			t.loseIfLapsed(now) // to publish the job anew would make two of it
		}
		switch own := t.letters(now); {
		case t.state == lost: // somebody else has the job: nothing known here concerns it
			t.lease.Release()
		case len(own) > 0:
			letters, marked = append(letters, own...), append(marked, t)
		default:
			clean = append(clean, t)
		}
	}
	ready := append(clean, marked...)
	if len(letters) > 0 {
		bury, cancel := context.WithTimeout(ctx, settleTimeout)
		_, err = graveyard.Bury(bury, letters)
		cancel()
		if err != nil {
			ready, left, letters = clean, marked, nil
		}
	}
	var done []*queue.Lease
	var rest []queue.Deferral
	for _, t := range ready {
		t.tried = true
		if t.open == 0 {
			done = append(done, t.lease)
		} else {
			rest = append(rest, queue.Deferral{Lease: t.lease, At: t.back, WovenIDs: t.rest, History: t.lease.History})
		}
	}
	end, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	failed := queue.Defer(end, rest)
	if failed == nil {
		failed = queue.Ack(end, done)
	}
	if failed != nil {
		left, err = append(left, ready...), errors.Join(err, failed)
	}
	for _, t := range left {
		t.lease.Keep()
	}
	return letters, left, err
}
