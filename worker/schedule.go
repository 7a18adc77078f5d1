package worker

import (
	"container/heap"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// schedule decides which batch may be called next. It is a plain value: no clock, no goroutine, no
// lock. Every batch that it holds is in the queue of one flow, and in open as well while jobs may
// still join it. A task that needs no call, or none now, is returned at once, with the state that
// says how it ends.
type schedule struct {
	cfg         Config
	permits     permits
	projects    map[string]*project
	credentials map[any]*credential
	open        openBatches
	rings       [3][]*flow // by level: flows that may have a call, in turn
	skips       [3]int     // how often the level was passed over
	timed       flowHeap   // flows that may have one later
	backlog     backlogLinger
	waiting     amount             // in batches that wait for a call
	heldBack    amount             // of it, what is behind gates; see recount
	behind      [streams]time.Time // since when each stream has more than comes; zero: it has not
	tight       bool               // one has had that for long; see room
	rebalanced  time.Time          // when shares were last looked at
	swept       time.Time          // when projects were last forgotten
}

func newSchedule(cfg Config) *schedule {
	return &schedule{cfg: cfg, permits: newPermits(cfg), projects: map[string]*project{}, credentials: map[any]*credential{}, open: newOpenBatches()}
}

// project gives a project's state, made if need be.
func (s *schedule) project(id string) *project {
	p := s.projects[id]
	if p == nil {
		p = &project{rate: newRate(s.cfg.ProjectCallsPerSecond, s.cfg.ProjectRecipientsPerSecond)}
		s.projects[id] = p
		s.adopt(id, p)
	}
	return p
}

// forget drops a project of which nothing is to be remembered.
func (s *schedule) forget(now time.Time, id string) {
	p := s.projects[id]
	failing := p.gate.err != nil && now.Sub(p.gate.until) < gateMemory
	if !failing && !p.busy() && !p.rate.free.After(now) && !p.nextReturn.After(now) && !p.size.again.After(now) {
		s.abandon(p)
		delete(s.projects, id)
	}
}

// sweepEvery is how often projects are forgotten that could not be when their last call came back.
const sweepEvery = 10 * time.Second

// sweep forgets what need not be remembered any more.
func (s *schedule) sweep(now time.Time) {
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for id := range s.projects {
		s.forget(now, id)
	}
	s.forgetCredentials(now)
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

// add takes in a leased job. It returns the task where that is not to be called for, or not now.
func (s *schedule) add(now time.Time, l *queue.Lease) *task {
	s.countBehind(now, l)
	level := level(l.Priority)
	if s.backlog.expect(now, level, l.Behind > 0) {
		s.endBacklog(now, level)
	}
	t := newTask(l)
	if t.triage(now, s.cfg, s.keepsOut(now, t.project())); t.state != inBatch {
		return t
	}
	s.join(now, s.project(l.Job.ProjectID).flow(level), t)
	return nil
}

// join puts the task into a batch.
func (s *schedule) join(now time.Time, f *flow, t *task) {
	b, full, begun := s.open.join(now, f, t, s.cfg.MaxRecipients)
	if full != nil {
		s.sealed(full)
	}
	if begun {
		f.queue.begin(b)
		s.backlog.begin(b, s.open.n)
	}
	if !b.mustFlush {
		s.backlog.gathering = s.backlog.gathering.plus(t.amount())
	}
	s.hold(now, f.project, t.amount())
	if b.sealed {
		s.sealed(b)
	}
	if f.state == idle || len(f.queue.sealed) > 0 || begun && len(f.queue.resting) > 0 {
		s.requeue(now, f)
	}
}

// sealed moves a batch that is in its flow's queue, and takes no more jobs now, behind the other
// sealed ones.
func (s *schedule) sealed(b *batch) {
	s.backlog.sealed(b)
	b.flow.queue.filled(b)
}

// seal ends the time in which jobs may join a batch that was taken out of its queue.
func (s *schedule) seal(b *batch) {
	if !b.sealed {
		s.open.seal(b)
		s.backlog.sealed(b)
	}
}

// remove ends the wait of a batch that was taken out of its queue without a call, and returns what
// was in it.
func (s *schedule) remove(b *batch) []*task {
	s.letGo(b)
	s.seal(b)
	return b.dissolve()
}

// next grants a call: it takes the batch whose turn it is out of the schedule; nil when none may begin
// now, for which permits give the reason. It returns as well the tasks that ended meanwhile.
func (s *schedule) next(now time.Time) (b *batch, ended []*task) {
	s.sweep(now)
	s.flushOldest(now)
	for len(s.timed) > 0 && !s.timed[0].wake.After(now) {
		f := heap.Pop(&s.timed).(*flow)
		f.state = idle
		s.requeue(now, f)
	}
	if !s.permits.any(now).granted() {
		return nil, nil
	}
	for _, level := range s.turns(now) {
		b, more := s.grant(now, level)
		ended = append(ended, more...)
		if b != nil {
			s.countSkips(level)
			return b, ended
		}
	}
	return nil, ended
}

// due says which of the flow's batches is next, and when it has waited for company long enough; nil
// when there is none.
func (s *schedule) due(now time.Time, f *flow) (*batch, time.Time) {
	return f.queue.next(now, f.project.gate.err != nil, func(b *batch) time.Time { return s.backlog.until(now, s.cfg.Linger, f.level, b) })
}

// requeue puts a flow where it belongs after something about it changed. A flow in a ring stays
// there until its turn comes, and is looked at then.
func (s *schedule) requeue(now time.Time, f *flow) {
	switch f.state {
	case ready:
		return
	case timed:
		heap.Remove(&s.timed, f.index)
		f.state = idle
	}
	b, at := s.due(now, f)
	if b == nil {
		return
	}
	why := s.permits.of(now, f.project)
	switch at = later(at, why.until); {
	case at.After(now):
		f.state, f.wake = timed, at
		heap.Push(&s.timed, f)
	case why.mayWait():
		f.state = ready
		s.rings[f.level] = append(s.rings[f.level], f)
	}
}

// requeueAll does so for all flows of a project.
func (s *schedule) requeueAll(now time.Time, p *project) {
	for _, f := range p.flows {
		if f != nil {
			s.requeue(now, f)
		}
	}
}

// closed is the gate of a project as it is; the zero value where it is open.
func (s *schedule) closed(id string) gate {
	if p := s.projects[id]; p != nil {
		return p.gate
	}
	return gate{}
}

// drain empties the schedule when the worker stops, and returns the tasks that were in batches.
func (s *schedule) drain() (tasks []*task) {
	for _, p := range s.projects {
		for _, f := range p.flows {
			if f == nil {
				continue
			}
			for _, b := range f.queue.takeIf(func(*batch) bool { return true }) {
				tasks = append(tasks, s.remove(b)...)
			}
		}
	}
	return tasks
}

// wakeAt is when next may have something although nothing else happens; zero: never.
func (s *schedule) wakeAt(now time.Time) time.Time {
	var at time.Time
	why := s.permits.any(now)
	if len(s.timed) > 0 && (why.granted() || !why.until.IsZero()) {
		at = s.timed[0].wake
	}
	if !why.until.IsZero() && (at.IsZero() || why.until.Before(at)) {
		at = why.until
	}
	return at
}
