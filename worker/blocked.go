package worker

import (
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// deferAfter is how long a job may wait here for its project's gate. Jobs that would wait longer
// go back to the queue until then, so that they do not fill the window that others need.
const deferAfter = 5 * time.Second

// blocked has a task return when its project's gate opens, or gives it up if its time is over. A job
// that has met no failure yet, neither of its own nor by having waited for this gate before, gets
// another chance: it may have grown old while no worker ran.
func (s *schedule) blocked(now time.Time, t *task, p *project) *task {
	end := t.end(s.cfg.RetryFor)
	switch {
	case t.loseIfLapsed(now):
		return t
	case t.lease.LastError != "" && !now.Before(end):
		return t.failAll(queue.Exhausted, shorten(p.gate.err.Error()), p.gate.err.Status)
	}
	t.lease.LastError = p.gate.err.Error()
	at := p.gate.until
	if end.After(now) {
		at = earlier(at, end)
	}
	return t.returnAt(at)
}

// deferBlocked takes out what waits behind a gate that closed for long, all but one batch, with which
// the gate is probed when it opens.
func (s *schedule) deferBlocked(now time.Time, p *project) (tasks []*task) {
	var probe *batch
	for _, f := range p.flows {
		if f == nil || f.queue.empty() {
			continue
		}
		if probe == nil {
			if probe = f.queue.all()[0]; !probe.sealed {
				s.seal(f, probe)
			}
		}
		for _, b := range slices.Backward(f.queue.takeIf(func(b *batch) bool { return b != probe })) {
			for _, t := range s.remove(now, p, b) {
				tasks = append(tasks, s.blocked(now, t, p))
			}
		}
	}
	return tasks
}

// applyRemoteClosure closes a project's gate because another worker's was. When it opens each worker
// probes.
func (s *schedule) applyRemoteClosure(now time.Time, c Closure) (tasks []*task) {
	if c.Until.IsZero() {
		if p := s.projects[c.ProjectID]; p != nil && p.gate.probeNow(now) {
			s.placeAll(now, p)
		}
		return nil
	}
	p := s.project(c.ProjectID)
	if p.gate.closeRemotely(now, c) {
		if p.gate.until.Sub(now) > deferAfter {
			tasks = s.deferBlocked(now, p)
		}
		s.placeAll(now, p)
	}
	s.forget(now, c.ProjectID)
	return tasks
}
