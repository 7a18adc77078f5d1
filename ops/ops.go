// Package ops is what a person on call does: look at the state and at the dead letters, and replay or
// drop them. The command line calls it, and prints.
//
//	Plan: exactly the letters to act on ──▶ shown, confirmed ──▶ Act: those letters and no others
//
// Nothing is changed but by [Ops.Act]. It may be interrupted and repeated: what was not reached is as
// it was, and what was done is not done twice.
package ops

import (
	"context"

	"github.com/chatrelay/chatrelay/queue"
)

// Ops works on one installation.
type Ops struct{ q *queue.Queue }

// New works on the installation that q is connected to. Its owner closes q.
func New(q *queue.Queue) *Ops { return &Ops{q} }

// Letter is a dead letter as it is shown: with its number and its place, which the stored form need
// not repeat. Its JSON form is a contract with users.
type Letter struct {
	// Seq is the number of the letter, by which it can be looked up again.
	Seq uint64 `json:"seq"`
	queue.DeadLetter
	// Origin is that of the embedded letter, under the name that users know.
	Origin string `json:"where"`
}

func shown(l queue.DeadLetter) Letter { return Letter{l.Seq, l, l.Origin} }

// Letters calls yield for the dead letters that match, oldest first, until it returns false. Those
// that come meanwhile are left out.
func (o *Ops) Letters(ctx context.Context, f queue.Filter, yield func(Letter) bool) error {
	return o.q.DeadLetters(ctx, f, func(l queue.DeadLetter) bool { return yield(shown(l)) })
}

// Letter looks a dead letter up by its number. Without one the error matches [queue.ErrNoLetter].
func (o *Ops) Letter(ctx context.Context, seq uint64) (Letter, error) {
	l, err := o.q.DeadLetter(ctx, seq)
	if err != nil {
		return Letter{}, err
	}
	return shown(l), nil
}
