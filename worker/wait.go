package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// deferAfter is how long a job may wait here for its project's gate. Jobs that would wait longer
// go back to the queue until then, so that they do not fill the window that others need.
const deferAfter = 5 * time.Second

// wait defers a task until its project's gate opens, or gives it up if its time is over. A job
// that has met no failure yet, neither of its own nor by having waited for this gate before, gets
// another chance: it may have grown old while no worker ran.
func (s *schedule) wait(now time.Time, t *task, p *project) {
	end := t.end(s.cfg.RetryFor)
	switch {
	case t.lease.Lapsed(now):
		t.gone = true
		s.finished = append(s.finished, t)
		return
	case t.lastErr != "" && !now.Before(end):
		t.failAll(queue.Exhausted, shorten(p.gate.err.Error()), p.gate.err.Status)
		s.finished = append(s.finished, t)
		return
	}
	t.lastErr = p.gate.err.Error()
	t.back = p.gate.until
	if end.After(now) && end.Before(t.back) {
		t.back = end
	}
	if e := t.lease.Job.ExpiresAt; !e.IsZero() && e.Before(t.back) {
		t.back = e
	}
	s.deferred = append(s.deferred, t)
}

// evict defers what waits behind a gate that closed for long, all but one batch, with which the
// gate is probed when it opens.
func (s *schedule) evict(now time.Time, p *project) {
	kept := false
	for _, f := range p.flows {
		if f == nil || len(f.line.batches) == 0 {
			continue
		}
		batches := f.line.batches
		f.line = line{}
		if !kept {
			kept = true
			s.seal(batches[0])
			f.line.giveBack(batches[0], true)
			batches = batches[1:]
		}
		for _, b := range batches {
			s.hold(now, p, -b.jobs)
			s.seal(b)
			for _, t := range b.tasks() {
				s.wait(now, t, p)
			}
		}
	}
}

// drain empties the schedule when the worker stops, and returns the tasks that were in batches.
func (s *schedule) drain() (tasks []*task) {
	for _, p := range s.projects {
		for _, f := range p.flows {
			if f == nil {
				continue
			}
			for _, b := range f.line.batches {
				s.held -= b.jobs
				p.waiting -= b.jobs
				s.seal(b)
				tasks = append(tasks, b.tasks()...)
			}
			f.line = line{}
		}
	}
	return tasks
}
