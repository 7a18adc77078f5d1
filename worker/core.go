package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// core is all that a worker knows and decides, without clock or goroutine: jobs come in, calls and
// work go out and come back, time passes. [Worker.Run] owns one.
type core struct {
	cfg       Config
	schedule  *schedule
	completer completer
	stopping  bool      // nothing new is begun
	deadline  time.Time // when a stopping worker gives up what it could not record
	cutOff    int       // jobs whose call was cut off, and may have been delivered
}

func newCore(cfg Config) *core {
	return &core{cfg: cfg, schedule: newSchedule(cfg), completer: newCompleter()}
}

// add takes leases in. It returns those to be released: all, once the worker stops.
func (c *core) add(now time.Time, leases []*queue.Lease) (release []*queue.Lease) {
	if c.stopping {
		return leases
	}
	for _, l := range leases {
		if t := c.schedule.add(now, l); t != nil {
			c.completer.add(now, t)
		}
	}
	return nil
}

// nextCall grants a call; nil when none may begin now.
func (c *core) nextCall(now time.Time) *batch {
	if c.stopping {
		return nil
	}
	// What was called for and is not known to be acked is what a cut-off worker would repeat.
	c.schedule.permits.unconfirmed = c.completer.unacked()
	b, ended := c.schedule.next(now)
	c.completer.add(now, ended...)
	return b
}

// nextWork hands out work for a handler; nil when there is none now.
func (c *core) nextWork(now time.Time) *work {
	if !c.stopping {
		if c.completer.acking() {
			c.schedule.backlog.resume(now)
		}
		c.completer.add(now, c.schedule.rebalance(now)...)
	}
	return c.completer.next(now)
}

// callEnded takes back a batch after its call, which began at some time. It returns what happened to
// the project.
func (c *core) callEnded(now, began time.Time, b *batch, res result) (events []Event) {
	if res.unsent {
		c.schedule.unsent(now, b)
		return nil
	}
	if err := res.err; c.stopping && !now.Before(c.deadline) && err != nil && err.MayBeDelivered {
		c.cutOff += res.jobs
	}
	c.completer.add(now, res.ended...)
	before := c.schedule.closed(b.key.project)
	change, tasks := c.schedule.ended(now, began, b, res)
	c.completer.add(now, tasks...)
	e := Event{ProjectID: b.key.project, Status: res.status, Allowed: c.schedule.permits.limiter.calls()}
	switch change.gate {
	case gateFailed:
		e.Kind, e.Wait, e.Err = EventGate, change.wait, res.err
		e.Shared, e.Narrow, e.Failed = change.shared, !change.wide && !change.shared, before.failed+1
		e.Again = before.err != nil && before.err.Kind == res.err.Kind && before.wide == change.wide
		events = append(events, e)
	case gateOpened:
		e.Kind, e.Narrow, e.Failed = EventGate, !before.wide, before.failed
		events = append(events, e)
	}
	if change.size {
		events = append(events, Event{Kind: EventCallSize, ProjectID: b.key.project, Recipients: b.flow.project.size.known(), Again: change.again})
	}
	return events
}

// workEnded takes back what a handler left undone.
func (c *core) workEnded(now time.Time, w *work, left []*task) { c.completer.done(now, w, left) }

// closeGate closes a project's gate because another worker's was, and returns what changed.
func (c *core) closeGate(now time.Time, closure Closure) []Event {
	before := c.schedule.closed(closure.ProjectID)
	closed, tasks := c.schedule.applyRemoteClosure(now, closure)
	c.completer.add(now, tasks...)
	if !closed {
		return nil
	}
	after := c.schedule.closed(closure.ProjectID)
	return []Event{{
		Kind: EventGate, ProjectID: closure.ProjectID, From: closure.From, Status: closure.Status, Err: after.err, Wait: after.closedFor(now),
		Failed: after.failed, Again: before.wide && before.err.Kind == closure.Kind, Allowed: c.schedule.permits.limiter.calls(),
	}}
}

// stop begins nothing new from now on.
func (c *core) stop(now time.Time) {
	c.stopping, c.completer.hurry, c.deadline = true, true, now.Add(c.cfg.Grace)
}

// unstarted empties the schedule of a worker that stops. Of a job of which something is known only
// the rest comes back; the leases of the others are returned, to be released.
func (c *core) unstarted(now time.Time) (release []*queue.Lease) {
	for _, t := range c.schedule.drain() {
		if t.touched() {
			t.returnAt(later(now, t.back))
			c.completer.add(now, t)
			continue
		}
		release = append(release, t.lease)
	}
	return release
}

// over reports whether a worker that stops has nothing left to do, or to wait for.
func (c *core) over(now time.Time) bool {
	left, busy := c.completer.left()
	return c.stopping && c.schedule.permits.inFlight == 0 && !busy && (left == 0 || now.After(c.deadline))
}

// unrecorded counts the jobs of which something is known that was not recorded, or may be.
func (c *core) unrecorded() int {
	left, _ := c.completer.left()
	return left + c.cutOff
}

// wakeAt is when something may have to be done although nothing else happens; zero: never.
func (c *core) wakeAt(now time.Time) (at time.Time) {
	candidates := []time.Time{c.completer.wakeAt()}
	if !c.stopping {
		candidates = append(candidates, c.schedule.wakeAt(now), c.schedule.rebalanceAt())
	}
	for _, t := range candidates {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}
