package worker

import (
	"slices"
	"time"
)

// line is the batches of a flow: first those that take no more jobs, in the order of their calls,
// then those that do, in the order in which they were begun. So what is full does not wait behind
// what is still filling.
type line struct {
	batches []*batch
	closed  int // how many take no more jobs
}

// begin adds a batch that takes jobs.
func (l *line) begin(b *batch) { l.batches = append(l.batches, b) }

// filled moves a batch that was closed while it was filling behind the others that are closed.
func (l *line) filled(b *batch) {
	i := l.closed + slices.Index(l.batches[l.closed:], b)
	copy(l.batches[l.closed+1:i+1], l.batches[l.closed:i])
	l.batches[l.closed] = b
	l.closed++
}

// giveBack takes a closed batch back after a call: to the front, or behind the other closed ones.
func (l *line) giveBack(b *batch, front bool) {
	at := l.closed
	if front {
		at = 0
	}
	l.batches = slices.Insert(l.batches, at, b)
	l.closed++
}

// next says which batch is to be called next, and when: the first closed one at once, unless one
// that takes jobs has had its time and was begun earlier. Of an empty line it is never, which is
// the zero time.
func (l *line) next(now time.Time, due func(*batch) time.Time) (i int, at time.Time) {
	if len(l.batches) == 0 {
		return 0, time.Time{}
	}
	if l.closed == len(l.batches) {
		return 0, now
	}
	// The first of those that are filling need not be the first to be due, but nearly so.
	const few = 8
	i = l.closed
	at = due(l.batches[i])
	for k := i + 1; k < min(len(l.batches), l.closed+few) && at.After(now); k++ {
		if d := due(l.batches[k]); d.Before(at) {
			i, at = k, d
		}
	}
	if l.closed > 0 && (at.After(now) || l.batches[0].begun.Before(l.batches[i].begun)) {
		return 0, now
	}
	return i, later(now, at)
}

// take takes the i-th batch out.
func (l *line) take(i int) *batch {
	b := l.batches[i]
	if i < l.closed {
		l.closed--
	}
	if i == 0 {
		l.batches[0] = nil
		l.batches = l.batches[1:]
	} else {
		l.batches = slices.Delete(l.batches, i, i+1)
	}
	return b
}

// keep drops the batches that drop says, from the end to the front.
func (l *line) keep(keep func(*batch) bool) {
	for i := len(l.batches) - 1; i >= 0; i-- {
		if b := l.batches[i]; !keep(b) {
			l.batches[i] = nil
		}
	}
	l.batches = slices.DeleteFunc(l.batches, func(b *batch) bool { return b == nil })
	l.closed = 0
	for _, b := range l.batches {
		if !b.closed {
			break
		}
		l.closed++
	}
}
