package worker

import (
	"slices"
	"time"
)

// deferBlocked takes out what waits behind a gate that closed for long, all but the batches with which
// the gate is probed when it opens. What failed probes only if there is nothing else.
func (s *schedule) deferBlocked(now time.Time, p *project) (tasks []*task) {
	var probes []*batch
	most := 1
	if p.gate.err.MayConcernMessage() {
		most = gateProbes
	}
	for _, resting := range []bool{false, true} {
		for _, f := range p.flows {
			if f == nil {
				continue
			}
			from := slices.Concat(f.queue.sealed, f.queue.filling)
			if resting {
				from = f.queue.resting
			}
			probes = append(probes, from[:min(len(from), most-len(probes))]...)
		}
	}
	for _, b := range probes {
		if !b.sealed {
			s.open.seal(b)
			s.sealed(b)
		}
	}
	for _, f := range p.flows {
		if f == nil {
			continue
		}
		for _, b := range slices.Backward(f.queue.takeIf(func(b *batch) bool { return !slices.Contains(probes, b) })) {
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
			for _, f := range p.flows {
				if f != nil {
					f.queue.wake(now)
				}
			}
			s.requeueAll(now, p)
		}
		return nil
	}
	p := s.project(c.ProjectID)
	if p.gate.closeRemotely(now, c) {
		if p.gate.closedFor(now) > deferAfter {
			tasks = s.deferBlocked(now, p)
		}
		s.requeueAll(now, p)
	}
	s.forget(now, c.ProjectID)
	return tasks
}
