package worker

import (
	"slices"
	"time"
)

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
				s.open.seal(probe)
				s.sealed(probe)
			}
		}
		for _, b := range slices.Backward(f.queue.takeIf(func(b *batch) bool { return b != probe })) {
			for _, t := range s.remove(now, b) {
				t.block(now, &p.gate, s.cfg.RetryFor)
				tasks = append(tasks, t)
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
			s.requeueAll(now, p)
		}
		return nil
	}
	p := s.project(c.ProjectID)
	if p.gate.closeRemotely(now, c) {
		if p.gate.until.Sub(now) > deferAfter {
			tasks = s.deferBlocked(now, p)
		}
		s.requeueAll(now, p)
	}
	s.forget(now, c.ProjectID)
	return tasks
}
