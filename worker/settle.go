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

// settlement is one attempt to record what is known of tasks, and what came of it.
type settlement struct {
	graveyard Graveyard
	// impatient says that what cannot be buried now is postponed at once, and timeout bounds the attempt to
	// bury. Zero: settleTimeout.
	impatient bool
	timeout   time.Duration

	letters   []queue.DeadLetter // were stored
	unburied  []queue.DeadLetter // were not
	acked     []*task
	deferred  []*task
	postponed []*task // their letters come back later
	left      []*task // are to be settled again
	why       error   // of unburied
	err       error   // of leases that could not be ended
}

// settle records what is known of tasks: it buries who failed, and only then ends the leases, by
// acking those whose recipients all have an outcome and by deferring the rest of the others. It is
// the one function that acks. One letter's failure is its own: only tasks whose own letters failed are left,
// and after some tries their letters are postponed. What is left is to be settled again: what is buried or
// acked stays so.
func (s *settlement) settle(ctx context.Context, now time.Time, tasks []*task) {
	ready := s.bury(ctx, now, tasks)
	end, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var acks []*queue.Lease
	var rest []queue.Deferral
	var done, returning []*task
	for _, t := range ready {
		if t.open == 0 && !t.postponed {
			acks, done = append(acks, t.lease), append(done, t)
		} else {
			if err := t.splitAgain(end); err != nil {
				s.left, s.err = append(s.left, t), errors.Join(s.err, err)
				continue
			}
			t.tried = true
			rest, returning = append(rest, t.deferral(now)), append(returning, t)
		}
	}
	err := queue.Defer(end, rest)
	s.err = errors.Join(s.err, err)
	for _, t := range returning {
		switch {
		case err != nil && !t.lease.Over():
			s.left = append(s.left, t)
		case t.postponed:
			s.postponed = append(s.postponed, t)
		default:
			s.deferred = append(s.deferred, t)
		}
	}
	if err := queue.Ack(end, acks); err != nil {
		s.left, s.err = append(s.left, done...), errors.Join(s.err, err)
	} else {
		s.acked = done
	}
	for _, t := range s.left {
		t.lease.Keep()
	}
}

// bury buries who failed, and returns the tasks whose leases may be ended now.
func (s *settlement) bury(ctx context.Context, now time.Time, tasks []*task) (ready []*task) {
	var letters []queue.DeadLetter
	var owners []*task
	for _, t := range tasks {
		if t.state == returning && !t.tried {
			t.loseIfLapsed(now) // to publish the job anew would make two of it
		}
		if t.state == lost { // somebody else has the job: nothing known here concerns it
			t.lease.Release()
			continue
		}
		ready = append(ready, t)
		if t.postponed { // its lease can end in no other way any more
			continue
		}
		for _, l := range t.letters(now) {
			letters, owners = append(letters, l), append(owners, t)
		}
	}
	if len(letters) == 0 {
		return ready
	}
	timeout := s.timeout
	if timeout == 0 {
		timeout = settleTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	failed, err := s.graveyard.Bury(ctx, letters)
	unburied := map[int]bool{}
	for _, i := range failed {
		unburied[i] = true
	}
	failing := map[*task]bool{}
	for i, l := range letters {
		if unburied[i] {
			failing[owners[i]] = true
			s.unburied = append(s.unburied, l)
		} else {
			owners[i].stored(l.Reason)
			s.letters = append(s.letters, l)
		}
	}
	s.why = err
	settleable := ready[:0]
	for _, t := range ready {
		if failing[t] && !t.postpone(s.impatient || errors.Is(err, queue.ErrFull)) {
			s.left = append(s.left, t)
		} else {
			settleable = append(settleable, t)
		}
	}
	return settleable
}
