package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// A project's flood delays no other project by more than about a round.
func TestFloodDelaysNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{Concurrency: 4})
		for i := range 5000 {
			w.publish(text("flood", fmt.Sprint("text", i), "a"))
		}
		time.Sleep(time.Second)
		begin := time.Now()
		for i := range 20 {
			w.publish(text(fmt.Sprint("q", i), "hello", "a"))
		}
		w.finish(r, time.Hour)
		// In a round the flood has an eighth of a full call, 62 recipients: 16 times 20 ms.
		const round = 700 * time.Millisecond
		for _, c := range w.sent() {
			if c.project != "flood" && at(begin, c.at) > round {
				t.Errorf("%s waited %v", c.project, at(begin, c.at))
			}
		}
	})
}

// Turns are counted in recipients, so batches that are large buy nothing.
func TestSharesAreCountedInRecipients(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 6000 {
			w.publish(text("small", fmt.Sprint("text", i), "a"))
		}
		for i := range 12 {
			w.publish(text("large", fmt.Sprint("text", i), people("a", 500)...))
		}
		r := w.start(Config{Concurrency: 4, Linger: -1}) // nobody has a start by being full at once
		w.finish(r, time.Hour)
		told := map[string]int{}
		for _, c := range w.sent() {
			told[c.project] += len(c.ids)
			s, l := told["small"], told["large"]
			if max(s, l) < 5500 && (s > l+1200 || l > s+1200) {
				t.Fatalf("after %d recipients of one project and %d of the other", s, l)
			}
		}
	})
}

// An urgent call goes first, and the others are not starved by urgent ones without end.
func TestPriorities(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 400 {
			for _, p := range queue.Priorities() {
				w.publish(text("p", fmt.Sprint("text", i, p), "a"), priority(p))
			}
		}
		r := w.start(Config{Concurrency: 1})
		w.finish(r, time.Hour)
		count := map[queue.Priority]int{}
		for i, c := range w.sent()[:300] {
			for p := range c.priorities {
				count[p]++
			}
			if i == 3 && count[queue.Urgent] != 4 {
				t.Errorf("the first calls are %v", count)
			}
		}
		if count[queue.Urgent] < 200 || count[queue.Normal] < 30 || count[queue.Bulk] < 15 || count[queue.Bulk] > count[queue.Normal] {
			t.Errorf("of 300 calls %v", count)
		}
	})
}

// One project's outage delays no other project's jobs.
func TestOutageDelaysNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("down", 1e6, failure503())
		r := w.start(Config{Concurrency: 2})
		for i := range 1000 {
			w.publish(text("down", fmt.Sprint("text", i), "a"))
		}
		for i := range 100 {
			time.Sleep(time.Second)
			begin := time.Now()
			w.publish(text("up", fmt.Sprint("text", i), "a"))
			time.Sleep(time.Second)
			if n := w.timesTold("up", fmt.Sprint("text", i), "a"); n != 1 {
				t.Fatalf("told %d times", n)
			}
			calls := w.sent()
			for _, c := range slices.Backward(calls) {
				if c.project == "up" {
					if waited := at(begin, c.at); waited > 40*time.Millisecond {
						t.Errorf("waited %v", waited)
					}
					break
				}
			}
		}
		w.answers.Lock()
		w.answer = nil
		w.answers.Unlock()
		w.finish(r, time.Hour)
	})
}

// What a project leaves behind when it has nothing to do is nothing.
func TestProjectsAreForgotten(t *testing.T) {
	s := newSchedule(Config{}.withDefaults())
	now := time.Now()
	for i := range 100 {
		job := text(fmt.Sprint("p", i), "hello", "a")
		if i%2 == 0 {
			job.ExpiresAt = now.Add(time.Millisecond)
		}
		s.add(now, queue.NewLease(&queue.Lease{Job: job, History: queue.History{PublishedAt: now}}, nil))
	}
	now = now.Add(time.Second)
	expired := 0
	for {
		b, ended := s.next(now)
		if expired += len(ended); b == nil {
			break
		}
		s.ended(now, now, b, b.record(now, Config{RetryFor: time.Hour}, okReport, nil))
	}
	if expired != 50 || len(s.projects)+s.open.n+len(s.timed)+s.waiting.jobs+s.waiting.bytes+s.permits.inFlight+s.permits.active != 0 {
		t.Errorf("%d expired, left are %d projects, %d open batches, %d flows, %v and %+v", expired, len(s.projects), s.open.n, len(s.timed), s.waiting, s.permits)
	}
}

// Of a project with a rate, or whose gate closed, something is to be remembered for a while, and then
// nothing.
func TestProjectsAreForgottenInTime(t *testing.T) {
	down := &chatapi.Error{Kind: chatapi.Temporary, Status: 500}
	for name, err := range map[string]error{"a rate": nil, "a failure": down} {
		s := newSchedule(Config{ProjectCallsPerSecond: 1, RetryFor: time.Nanosecond}.withDefaults())
		now := time.Now()
		s.add(now, queue.NewLease(&queue.Lease{Job: text("p", "hello", "a"), History: queue.History{PublishedAt: now}}, nil))
		now = now.Add(time.Second)
		b, _ := s.next(now)
		s.ended(now, now, b, b.record(now, s.cfg, okReport, err))
		if len(s.projects) != 1 {
			t.Errorf("after %s a project is forgotten at once", name)
		}
		if s.next(now.Add(time.Hour)); len(s.projects) != 0 {
			t.Errorf("after %s a project is remembered for an hour", name)
		}
	}
}
