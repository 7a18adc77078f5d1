package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// change is what the end of a call changed for its project.
type change struct {
	gate gateTurn
	wait time.Duration // of what failed; of all of the project's calls if wide
	wide bool
	// shared says that all projects with the same credential are held back.
	shared bool
	// size says that another number of recipients is known to be what the API takes, and again that one
	// was known before.
	size, again bool
}

// ended takes a batch back after its call, which began at some time. It returns what changed for the
// project, and which tasks wait elsewhere for their next call.
func (s *schedule) ended(now, began time.Time, b *batch, res result) (c change, tasks []*task) {
	p := b.flow.project
	p.meter.count(now, res.jobs, now.Sub(began))
	var shared gateTurn
	c.wait, c.gate, shared = s.permits.end(now, began, b, &res)
	c.wide = p.gate.wide
	p.gate.hopeless = p.gate.hopeless || p.gate.err != nil && b.seen().whole
	c.size, c.again = p.size.learn(now, b, &res)
	if len(b.parts) > 0 {
		b.rest(now, res.resting, c.wait, res.err)
		if c.gate == gateFailed && !c.wide {
			c.wait = max(c.wait, b.next().met().notBefore.Sub(now))
		}
		tasks = s.takeBack(now, b)
	}
	tasks = append(tasks, s.holdBack(now, p)...)
	s.requeueAll(now, p)
	if shared != gateUntouched {
		tasks = append(tasks, s.applyShared(now, b.permit.shared, shared)...)
	}
	if c.gate == gateFailed && p.credential.failing() && res.err.Kind == chatapi.Credential {
		c.shared, c.wait = true, max(c.wait, p.credential.gate.closedFor(now))
	}
	s.forget(now, b.key.project)
	return c, tasks
}

// unsent takes a batch back whose call was granted and not made. It is tried again soon.
func (s *schedule) unsent(now time.Time, b *batch) {
	s.permits.giveBack(b)
	b.flow.project.size.trying = false
	b.next().meet().notBefore = now.Add(failurePause)
	s.takeBack(now, b)
	s.requeueAll(now, b.flow.project)
}

// takeBack takes a batch back that goes again. If that is after a while, its jobs go back to the queue
// until then.
func (s *schedule) takeBack(now time.Time, b *batch) []*task {
	s.recount(b.flow.project)
	if wait := b.next().met().notBefore.Sub(now); wait > deferAfter || wait > 0 && s.crowded() {
		tasks := b.dissolve()
		for _, t := range tasks {
			back := t.back
			if wait <= deferAfter {
				back = later(back, now.Add(deferAfter))
			}
			t.retryAt(now, back, s.cfg.RetryFor)
		}
		return tasks
	}
	b.flow.queue.takeBack(now, b)
	s.hold(now, b.flow.project, b.amount)
	return nil
}
