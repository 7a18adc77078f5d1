package worker

import (
	"slices"
	"time"
)

// While the jobs of a backlog stream in, batches of a key that comes again and again wait for company
// longer than they linger: their jobs have waited in the queue already, and fuller batches end that
// sooner. For one of its kind it would be in vain.
const (
	// backlogGap is how long after the last job that joined it a batch goes all the same, and
	// backlogMost how long after the first.
	backlogGap  = 200 * time.Millisecond
	backlogMost = time.Second
	// backlogPause is for how long a stream may pause in between: the server delivers in bursts when
	// it has much to do.
	backlogPause = 100 * time.Millisecond
)

// backlogLinger is what is known of the batches that take jobs, beyond each one's own state.
type backlogLinger struct {
	gathering amount       // in those that need not be flushed
	expected  [3]time.Time // by level: until when jobs of the backlog are expected to stream in
	order     []*batch     // those batches, and some that are sealed by now, in the order of their beginning
}

// expect remembers whether more jobs are about to come: while jobs wait behind the one that came, the
// next ones come soon, unless the window is full. It reports whether it is the last one of a backlog.
func (l *backlogLinger) expect(now time.Time, level int, behind bool) (ended bool) {
	more := &l.expected[level]
	if behind {
		*more = now.Add(backlogPause)
		return false
	}
	ended = more.After(now)
	*more = time.Time{}
	return ended
}

// resume expects the rest of a backlog still: jobs are being acked, which makes room for it.
func (l *backlogLinger) resume(now time.Time) {
	for level := range l.expected {
		if now.Sub(l.expected[level]) < backlogMost {
			l.expected[level] = now.Add(backlogPause)
		}
	}
}

// begin remembers a new batch, one of so many that take jobs.
func (l *backlogLinger) begin(b *batch, open int) {
	if len(l.order) > 2*open+64 { // most are not needed any more
		l.order = slices.DeleteFunc(l.order, func(b *batch) bool { return b.sealed || b.mustFlush })
	}
	l.order = append(l.order, b)
}

// sealed forgets the jobs of a batch that takes no more.
func (l *backlogLinger) sealed(b *batch) {
	if !b.mustFlush {
		l.gathering = l.gathering.minus(b.amount)
	}
}

// trimToOldest forgets what is not needed any more before the first of the batches that take jobs and
// need not be flushed, and returns that one; nil when there is none.
func (l *backlogLinger) trimToOldest() *batch {
	for len(l.order) > 0 {
		if b := l.order[0]; !b.sealed && !b.mustFlush {
			return b
		}
		l.order[0] = nil // so that it is not kept from here
		l.order = l.order[1:]
	}
	return nil
}

// until is how long a batch that takes jobs waits for them, or when to ask again: the backlog may
// have ended by then.
func (l *backlogLinger) until(now time.Time, linger time.Duration, level int, b *batch) time.Time {
	if b.mustFlush {
		return b.begun
	}
	until := b.begun.Add(linger)
	if more := l.expected[level]; more.After(until) && (b.again || b.jobs > 1) {
		longest := earlier(b.joined.Add(backlogGap), b.begun.Add(backlogMost))
		until = later(until, earlier(now.Add(max(linger, time.Millisecond)), earlier(more, longest)))
	}
	return until
}

// endBacklog lets batches of a level go that waited for more than their linger, as no more is to
// come.
func (s *schedule) endBacklog(now time.Time, level int) {
	if b := s.backlog.trimToOldest(); b == nil || b.begun.Add(s.cfg.Linger).After(now) {
		return
	}
	for _, f := range slices.Clone(s.timed) {
		if f.level == level {
			s.requeue(now, f)
		}
	}
}

// flushOldest lets the oldest batches go when those that take jobs fill three quarters of the window:
// if it filled up, nothing more would come, and all would go at once, none of them full.
func (s *schedule) flushOldest(now time.Time) {
	for s.backlog.gathering.fills(s.cfg.window()) > 3./4 {
		b := s.backlog.trimToOldest()
		if b == nil {
			return
		}
		b.mustFlush = true
		s.backlog.gathering = s.backlog.gathering.minus(b.amount)
		s.requeue(now, b.flow)
	}
}
