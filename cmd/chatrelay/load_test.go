package main

import (
	"fmt"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

// load is a number of jobs, each with recipients of its own.
type load struct{ jobs []queue.Job }

func project(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func newLoad(prefix string, jobs, recipients, projects, messages int) load {
	var l load
	for i := range jobs {
		job := queue.Job{ID: fmt.Sprintf("%s-%d", prefix, i), ProjectID: project(i % projects), Message: fmt.Sprintf("%s message %d", prefix, i%messages)}
		for r := range recipients {
			job.WovenIDs = append(job.WovenIDs, fmt.Sprintf("%s-%d-%d", prefix, i, r))
		}
		l.jobs = append(l.jobs, job)
	}
	return l
}

func (l load) publish(s *system) {
	s.t.Helper()
	err := s.q.Publisher(queue.PublisherConfig{}).PublishAll(s.t.Context(), func(yield func(queue.Priority, queue.Job) bool) {
		for _, job := range l.jobs {
			if !yield(queue.Normal, job) {
				return
			}
		}
	}, func(r queue.Receipt, err error) {
		if err != nil {
			s.t.Errorf("publish %s: %v", r.JobID, err)
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// fate is what became of the recipients of a load.
type fate struct{ recipients, buried, lost, repeated int }

// count finds out what became of every recipient.
func (l load) count(s *system) fate {
	s.t.Helper()
	dead := map[string]bool{}
	for _, letter := range s.letters() {
		for _, id := range letter.WovenIDs {
			dead[letter.JobID+" "+id] = true
		}
	}
	var f fate
	deliveries := s.api.Deliveries()
	for _, job := range l.jobs {
		for _, id := range job.WovenIDs {
			f.recipients++
			n := deliveries[chatapitest.Delivery{ProjectID: job.ProjectID, Message: job.Message, WovenID: id}]
			if dead[job.ID+" "+id] {
				f.buried++
				n++
			}
			if n == 0 {
				f.lost++
			}
			f.repeated += max(0, n-1)
		}
	}
	if f.lost > 0 {
		s.t.Errorf("%d recipients were neither delivered to nor dead-lettered", f.lost)
	}
	if n := s.api.Counts().DuplicateInCall; n > 0 {
		s.t.Errorf("%d recipients stood twice in one call", n)
	}
	return f
}

// account demands that every recipient was delivered to or dead-lettered, and returns how many deliveries
// went to one that had been delivered to, or dead-lettered, already.
func (l load) account(s *system) (repeats int) {
	s.t.Helper()
	return l.count(s).repeated
}
