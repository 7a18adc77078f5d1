package worker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// A message that the API cannot digest does not starve the others of its project: probes rotate.
func TestOneBadMessageDoesNotStarveItsProject(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(c call) (chatapi.Report, error) {
			if c.message == "poison" {
				return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Temporary, Status: 500}
			}
			return okReport, nil
		}
		w.publish(text("p", "poison", "a"))
		for i := range 50 {
			w.publish(text("p", fmt.Sprint("good", i), "a"))
		}
		r := w.start(Config{Concurrency: 4, RetryFor: time.Hour})
		time.Sleep(5 * time.Minute)
		told := 0
		for i := range 50 {
			told += w.timesTold("p", fmt.Sprint("good", i), "a")
		}
		if told != 50 {
			t.Errorf("%d of 50 told within five minutes", told)
		}
		w.finish(r, 3*time.Hour)
		if l := w.letter(queue.Refused); l.Message != "poison" || l.Attempts < suspectedEnough || !strings.Contains(l.Failures[0].Detail, "status 500") {
			t.Errorf("letter %+v, want the bad message alone, with its own failures", l)
		}
	})
}

// A message that alone is answered with a Retry-After does not keep its project paused.
func TestOneLimitedMessageDoesNotPauseItsProjectForGood(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(c call) (chatapi.Report, error) {
			if c.message == "poison" {
				return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: 5 * time.Second}
			}
			return okReport, nil
		}
		w.publish(text("p", "poison", "a"))
		r := w.start(Config{Concurrency: 4, RetryFor: time.Hour})
		for i := range 600 {
			w.publish(text("p", fmt.Sprint("good", i), "a"))
			time.Sleep(time.Second)
		}
		w.mu.Lock()
		bad := 0
		for _, c := range w.calls {
			if c.message == "poison" {
				bad++
			}
		}
		w.mu.Unlock()
		if bad < 3 || bad > 12 {
			t.Errorf("%d pauses of five seconds in ten minutes on account of one message, want 3 to 12", bad)
		}
		w.finish(r, 3*time.Hour)
	})
}

// Projects whose calls hang take neither all slots nor the worker's concurrency from the others.
func TestHangingProjectsDoNotThrottleOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var healed atomic.Bool
		w.hangs = func(project string) bool { return project != "b" && !healed.Load() }
		w.answer = func(c call) (chatapi.Report, error) {
			if c.project != "b" && !healed.Load() {
				return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Temporary, MayBeDelivered: true, Err: context.DeadlineExceeded}
			}
			return okReport, nil
		}
		for p := range 12 {
			for i := range 1000 {
				w.publish(text(fmt.Sprint("hangs", p), fmt.Sprint("text", i), "a"))
			}
		}
		r := w.start(Config{RetryFor: 10 * time.Minute})
		time.Sleep(time.Second)
		begin := time.Now()
		for i := range 100 {
			w.publish(text("b", fmt.Sprint("text", i), "a"))
			time.Sleep(3 * time.Second)
		}
		late := 0
		w.mu.Lock()
		for _, c := range w.calls {
			var i int
			if c.project != "b" {
				continue
			}
			if _, err := fmt.Sscanf(c.message, "text%d", &i); err != nil {
				t.Error(err)
			}
			if waited := at(begin, c.at) - time.Duration(i)*3*time.Second; waited > time.Second {
				late++
			}
		}
		w.mu.Unlock()
		if late > 0 {
			t.Errorf("%d of 100 jobs waited for more than a second", late)
		}
		healed.Store(true)
		w.finish(r, time.Hour)
	})
}

// A graveyard that takes nothing holds up only those who belong there.
func TestDeliveredJobsAreAckedThoughNobodyCanBeBuried(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = rejecting("blocked", "bad")
		var emptied atomic.Bool
		w.buryErr = func(letters []queue.DeadLetter) (int, error) {
			if !emptied.Load() {
				return 0, errDown
			}
			return len(letters), nil
		}
		for i := range 500 {
			id := fmt.Sprint("good", i)
			if i%10 == 0 {
				id = "bad"
			}
			w.publish(text("p", fmt.Sprint("text", i/5), id))
		}
		r := w.start(Config{})
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		acked := len(w.acks)
		w.mu.Unlock()
		emptied.Store(true)
		if acked != 450 {
			t.Errorf("%d of 450 delivered jobs acked while nobody can be buried", acked)
		}
		w.finish(r, time.Minute)
		if n := w.buried(queue.Rejected); n != 50 {
			t.Errorf("%d buried, want 50", n)
		}
	})
}

// A panic anywhere in the handling of a call gives up that call's jobs, once, and nobody else's.
func TestPanicWhileRecording(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.publish(text("p", "cursed", "a", "b"))
		w.publish(text("p", "fine", "a"))
		r := w.start(Config{Hook: func(e Event) {
			if e.Kind == EventCall && e.Recipients == 2 {
				panic("what now")
			}
		}})
		w.finish(r, time.Minute)
		if calls, buried := len(w.sent()), w.buried(queue.Ambiguous); calls != 2 || buried > 2 {
			t.Errorf("%d calls, %d buried", calls, buried)
		}
		if w.timesTold("p", "fine", "a") != 1 {
			t.Error("the other job was not told")
		}
	})
}

// The API may not ask for a wait without end.
func TestRetryAfterIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 1, &chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: time.Hour})
		w.publish(text("p", "hello", "a"))
		begin := time.Now()
		r := w.start(Config{MaxRetryAfter: 3 * time.Second})
		w.finish(r, time.Minute)
		if last := at(begin, w.sent()[1].at); last < 3*time.Second || last > 4*time.Second {
			t.Errorf("called again after %v, want 3 s", last)
		}
	})
}
