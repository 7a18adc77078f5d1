package worker

import (
	"slices"
	"time"
)

// heldShare is the part of the window that jobs behind gates may fill: what waits there holds the gates'
// probes ready, and serves nobody else.
const heldShare = 1. / 8

// crowded reports whether jobs behind gates fill their part of the window. Then more of them wait in the
// queue, and the first to come when a gate opens is its probe.
func (s *schedule) crowded() bool { return s.heldBack.exceeds(s.cfg.window().times(heldShare)) }

// recount keeps count of the jobs of a project that wait behind a gate. Of one project few count: what it
// holds beyond its share is rebalance's matter, and no reason to send those of others away.
func (s *schedule) recount(p *project) {
	var n amount
	switch {
	case p.gate.wide, p.credential.failing():
		n = p.waiting
	case p.gate.err != nil:
		for _, f := range p.flows {
			if f != nil {
				n = n.plus(f.queue.rests)
			}
		}
	}
	n = n.atMost(s.leastShare()).atMost(s.cfg.window().times(heldShare / 2).atLeast(amount{1, 1}))
	s.heldBack = s.heldBack.minus(p.heldBack).plus(n)
	p.heldBack = n
}

// keepsOut is the gate because of which a job that comes for a project is not to wait here; nil: it is.
func (s *schedule) keepsOut(now time.Time, id string) *gate {
	p := s.projects[id]
	if p == nil && s.crowded() { // of one that is not known yet, the gate of its credential may be
		p = &project{credential: s.credentials[s.credentialKey(id)]}
	}
	switch {
	case p == nil:
	case s.crowded() && s.permits.of(now, p).blocked():
		return p.shut()
	case p.busy() && p.shut().closedFor(now) > deferAfter:
		return p.shut()
	}
	return nil
}

// holdBack takes out what is not to wait here for the project's gate.
func (s *schedule) holdBack(now time.Time, p *project) []*task {
	s.recount(p)
	if wait := p.shut().closedFor(now); wait > deferAfter || wait > 0 && s.crowded() {
		return s.deferBlocked(now, p)
	}
	return nil
}

// deferBlocked takes out what waits behind a gate that closed, all but the batches with which the gate is
// probed when it opens, unless these are too many. What failed probes only if there is nothing else.
func (s *schedule) deferBlocked(now time.Time, p *project) (tasks []*task) {
	var probes []*batch
	most, closed := 1, p.shut()
	switch {
	case s.crowded():
		most = 0
	case closed.err.MayConcernMessage():
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
			for _, t := range s.remove(b) {
				t.block(now, closed, s.cfg.RetryFor)
				tasks = append(tasks, t)
			}
		}
	}
	return tasks
}

// applyRemoteClosure closes a project's gate because another worker's was, and reports whether it did.
// When it opens each worker probes. Nothing is remembered of a project that has nothing to do here.
func (s *schedule) applyRemoteClosure(now time.Time, c Closure) (closed bool, tasks []*task) {
	p := s.projects[c.ProjectID]
	if p == nil || !p.gate.closeByWord(now, c) {
		return false, nil
	}
	tasks = s.holdBack(now, p)
	s.requeueAll(now, p)
	return true, tasks
}
