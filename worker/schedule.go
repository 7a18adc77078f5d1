package worker

import (
	"container/heap"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// A level with something to do is passed over this often at most before it gets a turn in spite
// of more pressing ones: a normal call at least every 8th, a bulk call at least every 16th.
var patience = [...]int{0, 8, 16}

// schedule decides which batch may be called next. It is a plain value: no clock, no goroutine, no
// lock. What it holds is in exactly one place:
//
//	flow.line                 batches of one project and priority, in the order of their calls;
//	                          those that jobs may still join are in kinds, too, by their key
//	finished, deferred, large tasks that need no call: to be settled, deferred or split
//
// A flow is in the ring of its priority when it may have a call now, in the heap when it must wait
// for a time, and in neither when it is empty or waits for its project's probe to come back.
type schedule struct {
	cfg      Config
	projects map[string]*project
	kinds    kinds
	spares   spares
	rings    [3][]*flow
	passed   [3]int // how often the level was passed over
	waiting  flowHeap
	gather   gathering
	rate     rate      // of all projects
	held     int       // jobs in batches that wait for a call
	active   int       // projects with calls under way
	start    int       // calls of a project at once, before any of them came back
	relieved time.Time // when shares were last looked at

	finished []*task // every recipient has an outcome, or the lease lapsed
	deferred []*task // to come back at task.back
	large    []*task // more recipients than a call may have
}

func newSchedule(cfg Config) *schedule {
	return &schedule{cfg: cfg, kinds: newKinds(), start: max(4, cfg.Concurrency/16), projects: map[string]*project{}, rate: newRate(cfg.CallsPerSecond, cfg.RecipientsPerSecond)}
}

// project gives a project's state, made if need be.
func (s *schedule) project(id string) *project {
	p := s.projects[id]
	if p == nil {
		p = &project{rate: newRate(s.cfg.ProjectCallsPerSecond, s.cfg.ProjectRecipientsPerSecond)}
		s.projects[id] = p
	}
	return p
}

// level is a priority's place in rings and flows.
func level(p queue.Priority) int {
	switch p {
	case queue.Urgent:
		return 0
	case queue.Bulk:
		return 2
	}
	return 1
}

// skew is by how much the server's clock may be ahead of ours: what it says is due is due.
const skew = time.Minute

// add takes in a leased job.
func (s *schedule) add(now time.Time, l *queue.Lease) {
	if s.gather.expect(now, l) {
		s.gathered(now, level(l.Priority))
	}
	t := newTask(l)
	p := s.projects[l.Job.ProjectID]
	switch {
	case l.Lapsed(now):
		t.gone = true
		s.finished = append(s.finished, t)
		return
	case l.Invalid != nil:
		t.open, t.failures = 0, []failure{{reason: queue.Invalid, detail: l.Invalid.Error()}}
		s.finished = append(s.finished, t)
		return
	case l.Redelivered && (len(l.Job.WovenIDs) <= s.cfg.MaxRecipients || !l.Job.DeliverAt.IsZero() && l.Stream != queue.LaterStream):
		// A worker may have died between deferring it and acking. Deferring it once more, until
		// now, makes sure: if it was deferred, nothing new comes of that. A large job is split
		// again instead, which is known by the place where it stands.
		t.back = now
		s.deferred = append(s.deferred, t)
		return
	case !l.Job.ExpiresAt.IsZero() && !now.Before(l.Job.ExpiresAt):
		t.failAll(queue.Expired, t.expiry(), 0)
		s.finished = append(s.finished, t)
		return
	case l.Job.DeliverAt.After(now) && !(l.Stream == queue.LaterStream && l.Job.DeliverAt.Sub(now) < skew):
		t.back = l.Job.DeliverAt
		s.deferred = append(s.deferred, t)
		return
	case len(l.Job.WovenIDs) > s.cfg.MaxRecipients:
		s.large = append(s.large, t)
		return
	case p != nil && p.gate.until.Sub(now) > deferAfter && p.holds():
		s.wait(now, t, p)
		return
	}
	s.join(now, s.project(l.Job.ProjectID), t)
}

// join puts the task into a batch.
func (s *schedule) join(now time.Time, p *project, t *task) {
	l := t.lease
	f := p.flow(level(l.Priority))
	k := key{l.Priority, l.Job.ProjectID, l.Job.Message}
	hash, b := s.kinds.find(k)
	if b == nil || !b.add(now, t, s.cfg.MaxRecipients, &s.spares) {
		if b != nil {
			s.seal(b)
			f.line.filled(b)
		}
		b = newBatch(k, now)
		b.add(now, t, s.cfg.MaxRecipients, &s.spares)
		s.kinds.put(b, hash)
		f.line.begin(b)
		s.gather.begin(f, b, s.kinds.open)
	}
	if !b.pressed {
		s.gather.jobs++
	}
	s.hold(now, p, 1)
	if b.size >= s.cfg.MaxRecipients {
		s.seal(b)
		f.line.filled(b)
	}
	if f.place == nowhere || f.line.closed > 0 {
		s.place(now, f)
	}
}

// seal ends the time in which jobs may join.
func (s *schedule) seal(b *batch) {
	if !b.closed {
		s.kinds.remove(b)
		b.close(&s.spares)
		if !b.pressed {
			s.gather.jobs -= b.jobs
		}
	}
}

// failAll gives every recipient without an outcome this one.
func (t *task) failAll(reason queue.Reason, detail string, status int) {
	t.failures = append(t.failures, failure{reason, t.remaining(), detail, status})
	t.open = 0
}

// next grants a call: it takes the batch whose turn it is out of the schedule. Nil means that
// nothing may be called now; wakeAt then tells when that may change by itself. The last free slots
// go only to projects with less than their share of the calls under way.
func (s *schedule) next(now time.Time, last bool) *batch {
	s.press(now)
	for len(s.waiting) > 0 && !s.waiting[0].wake.After(now) {
		f := heap.Pop(&s.waiting).(*flow)
		f.place = nowhere
		s.place(now, f)
	}
	if s.rate.free.After(now) {
		return nil
	}
	first := s.turn()
	for i := range len(s.rings) + 1 {
		lvl := first
		if i > 0 {
			lvl = i - 1
		}
		if lvl < 0 || i > 0 && lvl == first {
			continue
		}
		if b := s.grant(now, lvl, last); b != nil {
			s.count(lvl)
			return b
		}
	}
	return nil
}

// turn picks the level: the most pressing one with something to do, unless another has been passed
// over for too long.
func (s *schedule) turn() int {
	choice := -1
	for lvl := range s.rings {
		if len(s.rings[lvl]) == 0 {
			continue
		}
		if choice < 0 || s.passed[lvl] >= patience[lvl] {
			choice = lvl
		}
	}
	return choice
}

func (s *schedule) count(granted int) {
	s.passed[granted] = 0
	for lvl := granted + 1; lvl < len(s.rings); lvl++ {
		if len(s.rings[lvl]) > 0 {
			s.passed[lvl]++
		}
	}
}

// grant takes the next batch of a level by deficit round robin: each flow in its turn may call for
// an eighth of a full call's recipients, and saves that up while its next call is larger. It
// returns nil when no flow in the ring may call after all.
func (s *schedule) grant(now time.Time, lvl int, last bool) *batch {
	quantum := max(1, s.cfg.MaxRecipients/8)
	for passed := 0; len(s.rings[lvl]) > passed; {
		f := s.rings[lvl][0]
		i, at := s.due(now, f)
		if !at.Equal(now) || !f.project.allows(s.start) {
			s.rings[lvl][0] = nil
			s.rings[lvl] = s.rings[lvl][1:]
			f.place, f.deficit = nowhere, 0
			s.place(now, f)
			continue
		}
		if last && f.project.underway*s.sharers() >= s.cfg.Concurrency {
			s.rings[lvl] = append(s.rings[lvl][1:], f)
			passed++
			continue
		}
		passed = 0
		b := f.line.batches[i]
		if f.deficit < b.cost() {
			f.deficit += quantum
			s.rings[lvl] = append(s.rings[lvl][1:], f)
			continue
		}
		f.line.take(i)
		s.hold(now, f.project, -b.jobs)
		s.seal(b)
		done, callable := b.prepare(now)
		s.finished = append(s.finished, done...)
		if !callable {
			s.forget(now, b.key.project)
			continue
		}
		f.deficit -= b.cost()
		if f.project.underway++; f.project.underway == 1 {
			s.active++
		}
		b.probe = f.project.gate.err != nil
		f.project.rate.spend(now, b.cost())
		s.rate.spend(now, b.cost())
		return b
	}
	return nil
}

// sharers is among how many projects the slots are shared, for those who ask for the last ones: one
// more than have calls under way, as somebody may come. Where many have, it is not one project's
// trouble if no call comes back.
func (s *schedule) sharers() int {
	const many = 8
	if s.active < many {
		return s.active + 1
	}
	return s.active
}

// due tells which of the flow's batches is next, and when it may be called: now, a later time, or,
// with nothing to call, never, which is the zero time.
func (s *schedule) due(now time.Time, f *flow) (i int, at time.Time) {
	i, at = f.line.next(now, func(b *batch) time.Time { return s.gather.until(now, s.cfg.Linger, f.level, b) })
	if at.IsZero() {
		return i, at
	}
	return i, later(at, later(f.project.gate.until, f.project.rate.free))
}

// place puts a flow where it belongs after something about it changed. A flow in a ring stays
// there until its turn comes, and is looked at then.
func (s *schedule) place(now time.Time, f *flow) {
	if f.place == inRing {
		return
	}
	if f.place == inHeap {
		heap.Remove(&s.waiting, f.index)
		f.place = nowhere
	}
	switch _, due := s.due(now, f); {
	case due.IsZero() || !f.project.allows(s.start):
	case due.After(now):
		f.place, f.wake = inHeap, due
		heap.Push(&s.waiting, f)
	default:
		f.place = inRing
		s.rings[f.level] = append(s.rings[f.level], f)
	}
}

// placeAll does so for all flows of a project.
func (s *schedule) placeAll(now time.Time, p *project) {
	for _, f := range p.flows {
		if f != nil {
			s.place(now, f)
		}
	}
}

// done takes a batch back after its call, which began at some time, and adjusts the project's
// gate. It tells for how long the gate closed now, and whether it opened again.
func (s *schedule) done(now, began time.Time, b *batch, res result) (wait time.Duration, opened bool) {
	p := s.projects[b.key.project]
	if p.underway--; p.underway == 0 {
		s.active--
	}
	if len(b.parts) > 0 {
		f := p.flow(level(b.key.priority))
		if res.err == nil || res.err.Kind == chatapi.Refused {
			f.line.giveBack(b, true)
		} else { // another goes next: it may be this one's message that fails
			b.begun = now
			f.line.giveBack(b, false)
		}
		s.hold(now, p, b.jobs)
	}
	p.meter.count(now, res.jobs, now.Sub(began))
	if res.err == nil || res.err.Kind == chatapi.Refused {
		opened = p.gate.succeed(began)
		p.successes = min(p.successes+1, s.cfg.Concurrency)
	} else {
		p.successes = 0
		wait = p.gate.fail(now, began, res.err)
		if wait > deferAfter {
			s.evict(now, p)
		}
	}
	s.placeAll(now, p)
	s.forget(now, b.key.project)
	return wait, opened
}

// forget drops a project of which nothing is to be remembered.
func (s *schedule) forget(now time.Time, id string) {
	if p := s.projects[id]; p.gate.err == nil && !p.holds() && !p.rate.limited() && !p.horizon.After(now) && !p.soon.After(now) {
		delete(s.projects, id)
	}
}

// wakeAt tells when next may have something although nothing else happens; zero: never.
func (s *schedule) wakeAt() time.Time {
	var at time.Time
	if len(s.waiting) > 0 {
		at = s.waiting[0].wake
	}
	// What is in a ring waits for the rate of all projects, if for anything but a slot.
	if s.rate.limited() && s.turn() >= 0 && (at.IsZero() || s.rate.free.Before(at)) {
		at = s.rate.free
	}
	return at
}
