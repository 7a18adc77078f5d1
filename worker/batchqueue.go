package worker

import (
	"cmp"
	"slices"
	"time"
)

// batchQueue is the batches of a flow: those that are sealed, in the order of their calls; those that
// still take jobs, in the order in which they were begun; and those that rest after a failure, in the
// order in which they may go again. So what is full does not wait behind what is still filling, and
// nobody behind what failed.
type batchQueue struct {
	sealed, filling, resting []*batch
	rests                    amount // what is resting
}

func (q *batchQueue) empty() bool { return len(q.sealed)+len(q.filling)+len(q.resting) == 0 }

// all are the batches from the first to the last; those that failed come last.
func (q *batchQueue) all() []*batch { return slices.Concat(q.sealed, q.filling, q.resting) }

// begin adds a batch that takes jobs.
func (q *batchQueue) begin(b *batch) { q.filling = append(q.filling, b) }

// filled moves a batch that was sealed while it was filling behind the others that are sealed.
func (q *batchQueue) filled(b *batch) {
	q.filling = without(q.filling, slices.Index(q.filling, b))
	q.sealed = append(q.sealed, b)
}

// takeBack takes a sealed batch back after a call: to the front, or to rest until it may go again.
func (q *batchQueue) takeBack(now time.Time, b *batch) {
	may := b.next().met().notBefore
	if !may.After(now) {
		q.sealed = slices.Insert(q.sealed, 0, b)
		return
	}
	b.begun = may
	at, _ := slices.BinarySearchFunc(q.resting, b, func(other, b *batch) int {
		return cmp.Or(other.begun.Compare(b.begun), -1) // behind its equals
	})
	q.resting = slices.Insert(q.resting, at, b)
	q.rests = q.rests.plus(b.amount)
}

// wake ends the rest of all that rest at a time, if that is sooner.
func (q *batchQueue) wake(at time.Time) {
	for _, b := range q.resting {
		for i := range b.parts {
			met := b.parts[i].meet()
			met.notBefore = earlier(met.notBefore, at)
		}
		b.begun = earlier(b.begun, at)
	}
}

// next says which batch is to be called next, and when: the first sealed one at once, unless one
// that takes jobs or rested has had its time and was begun earlier. What failed does not probe a gate
// while there is anything else. Of an empty queue it is nil and never, which is the zero time.
func (q *batchQueue) next(now time.Time, probing bool, due func(*batch) time.Time) (next *batch, at time.Time) {
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
	if len(q.sealed) > 0 && (next == nil || at.After(now) || q.sealed[0].begun.Before(next.begun)) {
		next, at = q.sealed[0], now
	}
	if len(q.resting) > 0 {
		rested := q.resting[0].begun
		if next == nil || !probing && (rested.Before(next.begun) || at.After(now) && rested.Before(at)) {
			next, at = q.resting[0], rested
		}
	}
	if next == nil {
		return nil, time.Time{}
	}
	return next, later(now, at)
}

// take takes a batch out.
func (q *batchQueue) take(b *batch) {
	if i := slices.Index(q.resting, b); i >= 0 {
		q.resting = without(q.resting, i)
		q.rests = q.rests.minus(b.amount)
	} else if b.sealed {
		q.sealed = without(q.sealed, slices.Index(q.sealed, b))
	} else {
		q.filling = without(q.filling, slices.Index(q.filling, b))
	}
}

// takeIf takes those out that take says, which is asked from the last to the first, and returns them
// in that order.
func (q *batchQueue) takeIf(take func(*batch) bool) (taken []*batch) {
	for _, list := range []*[]*batch{&q.resting, &q.filling, &q.sealed} {
		for i, b := range slices.Backward(*list) {
			if take(b) {
				taken = append(taken, b)
				(*list)[i] = nil
				if list == &q.resting {
					q.rests = q.rests.minus(b.amount)
				}
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
