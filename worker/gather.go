package worker

import (
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// While the jobs of a backlog stream in, batches of a kind that comes again and again wait for company
// longer than they linger: their jobs have waited in the queue already, and fuller batches end that
// sooner. For one of a kind it would be in vain.
const (
	// gatherGap is how long after the last job that joined it a batch goes all the same, and
	// gatherMost how long after the first.
	gatherGap  = 200 * time.Millisecond
	gatherMost = time.Second
	// gatherPause is for how long a stream may pause in between: the server delivers in bursts when
	// it has much to do.
	gatherPause = 100 * time.Millisecond
)

// gathering is what is known of the batches that take jobs, beyond each one's own state.
type gathering struct {
	jobs  int          // in those that were not pressed
	more  [3]time.Time // by level: until when jobs of the backlog are expected to stream in
	begun []begun      // those batches, and some that are closed by now, in the order of their beginning
}

type begun struct {
	flow  *flow
	batch *batch
}

// expect remembers whether more jobs are about to come: while jobs wait behind this one, the next
// ones come soon, unless the window is full. It tells whether it is the last one of a backlog.
func (g *gathering) expect(now time.Time, l *queue.Lease) (ended bool) {
	more := &g.more[level(l.Priority)]
	if l.Behind > 0 {
		*more = now.Add(gatherPause)
		return false
	}
	ended = more.After(now)
	*more = time.Time{}
	return ended
}

// resume expects the rest of a backlog still: jobs are being settled, which makes room for it.
func (g *gathering) resume(now time.Time) {
	for lvl := range g.more {
		if now.Sub(g.more[lvl]) < gatherMost {
			g.more[lvl] = now.Add(gatherPause)
		}
	}
}

// begin remembers a new batch, one of so many that take jobs.
func (g *gathering) begin(f *flow, b *batch, open int) {
	if len(g.begun) > 2*open+64 { // most are not needed any more
		g.begun = slices.DeleteFunc(g.begun, func(b begun) bool { return b.batch.closed || b.batch.pressed })
	}
	g.begun = append(g.begun, begun{f, b})
}

// oldest is the first of the batches that take jobs and were not pressed; nil when there is none.
func (g *gathering) oldest() *begun {
	for len(g.begun) > 0 {
		if b := &g.begun[0]; !b.batch.closed && !b.batch.pressed {
			return b
		}
		g.begun[0] = begun{}
		g.begun = g.begun[1:]
	}
	return nil
}

// until is how long a batch that takes jobs waits for them, or when to ask again: the backlog may
// have ended by then.
func (g *gathering) until(now time.Time, linger time.Duration, lvl int, b *batch) time.Time {
	until := b.begun.Add(linger)
	if more := g.more[lvl]; !b.pressed && more.After(until) && (b.again || b.jobs > 1) {
		patience := earlier(b.joined.Add(gatherGap), b.begun.Add(gatherMost))
		until = later(until, earlier(now.Add(max(linger, time.Millisecond)), earlier(more, patience)))
	}
	return until
}

// gathered lets batches of a level go that waited for more than their linger, as no more is to come.
func (s *schedule) gathered(now time.Time, lvl int) {
	if b := s.gather.oldest(); b == nil || b.batch.begun.Add(s.cfg.Linger).After(now) {
		return
	}
	for _, f := range slices.Clone(s.waiting) {
		if f.level == lvl {
			s.place(now, f)
		}
	}
}

// press lets the oldest batches go when those that take jobs fill three quarters of the window: if
// it filled up, nothing more would come, and all would go at once, none of them full.
func (s *schedule) press(now time.Time) {
	for spare := s.cfg.Window * 3 / 4; s.gather.jobs > spare; {
		b := s.gather.oldest()
		if b == nil {
			return
		}
		b.batch.pressed = true
		s.gather.jobs -= b.batch.jobs
		s.place(now, b.flow)
	}
}
