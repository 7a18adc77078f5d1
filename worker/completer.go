package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// ending is how a task leaves the worker.
type ending int

const (
	ack ending = iota // also drops what was lost
	bury
	comeBack
	endings
)

// ending is how a task that is in no batch any more is to leave.
func (t *task) ending() ending {
	switch {
	case t.state == lost:
		return ack
	case t.state == returning:
		return comeBack
	case len(t.failed) > 0, t.returned != nil:
		return bury
	}
	return ack
}

// batcher collects tasks that end in the same way, so that those that come together share the
// server's answer.
type batcher struct {
	MaxHandlers int           // goroutines that end tasks at the same time
	MaxSize     int           // tasks that one takes on
	Linger      time.Duration // how long the first task waits for others

	waiting  []*task
	since    time.Time // when the first of them came
	handlers int
	handled  int       // tasks in the hands of handlers
	silent   time.Time // since when no handler was answered, while one waits for that
	failed   int       // tasks that were left by the last handler, if it failed
	again    time.Time // when, after that, the next handler may begin
}

// completer ends the tasks that need no call, or none here: it acks, buries and defers. It is
// a plain value, and hands out the work; a handler beside it does that. Each stream has batchers of its own:
// one that does not answer holds up none of another's tasks.
type completer struct {
	batchers [endings][streams]batcher
	hurry    bool // nothing lingers: the worker stops
	// unburied is since when letters could not be stored, and none was. Zero: the last ones were stored.
	unburied time.Time
}

// streams is how many streams there are: one for each level of priority, and that of due jobs.
const streams = 4

// streamOf is the place of a lease's stream in what there is one of for each.
func streamOf(l *queue.Lease) int {
	if l.Stream == queue.LaterStream {
		return streams - 1
	}
	return level(l.Priority)
}

// failurePause is how long a kind of work rests after it failed. The others go on meanwhile: what
// needs no letter is acked while nobody can be buried.
const failurePause = time.Second

// newCompleter sets the batchers up. What writes takes on 500 tasks, which even a busy server
// stores well within settleTimeout: a handler that outlasts it is repeated as a whole. Acks wait 2 ms
// for company: at some thousand calls a second, confirmations of one or two acks each kept the server
// busier by a quarter. They go by 2,000, since they share one answer however many they are.
func newCompleter() (c completer) {
	for e, b := range [endings]batcher{
		ack:      {MaxHandlers: 4, MaxSize: 2000, Linger: 2 * time.Millisecond},
		bury:     {MaxHandlers: 4, MaxSize: 500}, // a flood is buried, or postponed, by many
		comeBack: {MaxHandlers: 4, MaxSize: 500},
	} {
		for stream := range streams {
			c.batchers[e][stream] = b
		}
	}
	return c
}

// kind is what one batcher collects: what ends alike, of one stream.
type kind struct {
	ending ending
	stream int
}

// all are the batchers, those that ack first.
func (c *completer) all(yield func(kind, *batcher) bool) {
	for e := range c.batchers {
		for stream := range c.batchers[e] {
			if !yield(kind{ending(e), stream}, &c.batchers[e][stream]) {
				return
			}
		}
	}
}

// add takes tasks over.
func (c *completer) add(now time.Time, tasks ...*task) {
	for _, t := range tasks {
		b := &c.batchers[t.ending()][streamOf(t.lease)]
		if len(b.waiting) == 0 {
			b.since = now
		}
		b.waiting = append(b.waiting, t)
	}
}

// readyAt is when the next handler may begin. The first one begins when the tasks have lingered; a
// further one only for a full load, so that whatever comes meanwhile shares the next answer, and
// never after a failure. Zero: not before something else happens.
func (b *batcher) readyAt(hurry bool) time.Time {
	full := len(b.waiting) >= b.MaxSize
	switch {
	case len(b.waiting) == 0, b.handlers >= b.MaxHandlers, b.handlers > 0 && (!full || b.failed > 0):
		return time.Time{}
	case full, hurry:
		return later(b.again, b.since)
	}
	return later(b.again, b.since.Add(b.Linger))
}

// work is what one handler does.
type work struct {
	kind
	tasks []*task
	// impatient says that letters that cannot be stored now are postponed at once; timeout bounds the attempt.
	impatient bool
	timeout   time.Duration
	// What the handler found: letters that were stored, and that were not.
	buried, unburied int
}

// next hands out work that may begin now; nil when there is none.
func (c *completer) next(now time.Time) *work {
	for k, b := range c.all {
		if at := b.readyAt(c.hurry); at.IsZero() || at.After(now) {
			continue
		}
		n := min(len(b.waiting), b.MaxSize)
		if b.failed > 0 {
			n = min(n, max(1, b.failed/2))
		}
		w := &work{kind: k, tasks: b.waiting[:n:n], impatient: c.hurry, timeout: settleTimeout}
		if !c.unburied.IsZero() && now.Sub(c.unburied) >= burialsFail {
			w.impatient, w.timeout = true, burialProbe
		}
		if b.waiting = b.waiting[n:]; len(b.waiting) == 0 {
			b.waiting = nil
		}
		b.handlers++
		b.handled += n
		if b.silent.IsZero() {
			b.silent = now
		}
		return w
	}
	return nil
}

// done takes back what a handler left undone. It may be one task that can never be done, such as a
// letter that is too large: so the others go first next time, and half as many at once.
func (c *completer) done(now time.Time, w *work, left []*task) {
	switch {
	case w.buried > 0:
		c.unburied = time.Time{}
	case w.unburied > 0 && c.unburied.IsZero():
		c.unburied = now
	}
	b := &c.batchers[w.ending][w.stream]
	b.handlers--
	b.handled -= len(w.tasks)
	if b.failed = len(left); b.failed == 0 {
		if b.silent = now; b.handlers == 0 {
			b.silent = time.Time{}
		}
		return
	}
	b.again = now.Add(failurePause)
	if len(b.waiting) == 0 {
		b.since = now
	}
	b.waiting = append(b.waiting, left...)
}

// wakeAt is when next may have something although nothing else happens; zero: never.
func (c *completer) wakeAt() (at time.Time) {
	for _, b := range c.all {
		if ready := b.readyAt(c.hurry); !ready.IsZero() && (at.IsZero() || ready.Before(at)) {
			at = ready
		}
	}
	return at
}

// left counts the tasks that are not ended, and busy reports whether any are in the hands of a handler.
func (c *completer) left() (n int, busy bool) {
	for _, b := range c.all {
		n += len(b.waiting)
		busy = busy || b.handlers > 0
	}
	return n, busy
}

// unconfirmed is how many jobs of a stream were delivered whose acks the server has not confirmed, and silent
// since when it has confirmed none of them; zero: it is not waited for.
type unconfirmed struct {
	jobs   int
	silent time.Time
}

// unacked says what is not confirmed of each stream.
func (c *completer) unacked() (all [streams]unconfirmed) {
	for stream := range all {
		b := &c.batchers[ack][stream]
		all[stream] = unconfirmed{len(b.waiting) + b.handled, b.silent}
	}
	return all
}

// acking reports whether acks are on their way.
func (c *completer) acking() bool {
	for stream := range streams {
		if c.batchers[ack][stream].handlers > 0 {
			return true
		}
	}
	return false
}
