package worker

import (
	"slices"
	"time"
)

// batchQueue is the batches of a flow: those that are sealed, in the order of their calls, and those
// that still take jobs, in the order in which they were begun. So what is full does not wait behind
// what is still filling.
type batchQueue struct{ sealed, filling []*batch }

func (q *batchQueue) empty() bool { return len(q.sealed)+len(q.filling) == 0 }

// all are the batches from the first to the last.
func (q *batchQueue) all() []*batch { return slices.Concat(q.sealed, q.filling) }

// begin adds a batch that takes jobs.
func (q *batchQueue) begin(b *batch) { q.filling = append(q.filling, b) }

// filled moves a batch that was sealed while it was filling behind the others that are sealed.
func (q *batchQueue) filled(b *batch) {
	q.filling = without(q.filling, slices.Index(q.filling, b))
	q.sealed = append(q.sealed, b)
}

// takeBack takes a sealed batch back after a call: to the front, or behind the other sealed ones.
func (q *batchQueue) takeBack(b *batch, front bool) {
	if front {
		q.sealed = slices.Insert(q.sealed, 0, b)
	} else {
		q.sealed = append(q.sealed, b)
	}
}

// next says which batch is to be called next, and when: the first sealed one at once, unless one
// that takes jobs has had its time and was begun earlier. Of an empty queue it is nil and never,
// which is the zero time.
func (q *batchQueue) next(now time.Time, due func(*batch) time.Time) (next *batch, at time.Time) {
	// The first of those that are filling need not be the first to be due, but nearly so.
	const few = 8
	for _, b := range q.filling[:min(len(q.filling), few)] {
		if d := due(b); next == nil || d.Before(at) {
			next, at = b, d
		}
		if !at.After(now) {
			break
		}
	}
	switch {
	case len(q.sealed) > 0 && (next == nil || at.After(now) || q.sealed[0].begun.Before(next.begun)):
		return q.sealed[0], now
	case next == nil:
		return nil, time.Time{}
	}
	return next, later(now, at)
}

// take takes a batch out.
func (q *batchQueue) take(b *batch) {
	if b.sealed {
		q.sealed = without(q.sealed, slices.Index(q.sealed, b))
	} else {
		q.filling = without(q.filling, slices.Index(q.filling, b))
	}
}

// takeIf takes those out that take says, which is asked from the last to the first, and returns them
// in that order.
func (q *batchQueue) takeIf(take func(*batch) bool) (taken []*batch) {
	for _, list := range []*[]*batch{&q.filling, &q.sealed} {
		for i, b := range slices.Backward(*list) {
			if take(b) {
				taken = append(taken, b)
				(*list)[i] = nil
			}
		}
		*list = slices.DeleteFunc(*list, func(b *batch) bool { return b == nil })
	}
	return taken
}

// without is the list without its i-th batch, most often the first, for which nothing is moved.
func without(list []*batch, i int) []*batch {
	if i == 0 {
		list[0] = nil // so that it is not kept from here
		return list[1:]
	}
	return slices.Delete(list, i, i+1)
}
