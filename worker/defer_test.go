package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// What would wait for long goes back to the queue, all but one batch that probes the gate.
func TestLongWaitsAreDeferred(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 1, &chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: time.Minute, Detail: "slow down"})
		r := w.start(Config{Concurrency: 1})
		begin := time.Now()
		for i := range 10 {
			w.publish(text("p", fmt.Sprint("text", i), "a"), func(s *stored) { s.lease.Attempts, s.lease.LastError = 4, "an earlier failure" })
		}
		time.Sleep(30 * time.Second)
		for i := range 5 { // finds the gate closed
			w.publish(text("p", fmt.Sprint("late", i), "a"))
		}
		w.finish(r, time.Hour)
		if len(w.defers) != 14 {
			t.Fatalf("%d deferrals, want 14", len(w.defers))
		}
		opens := begin.Add(40*time.Millisecond + time.Minute)
		for _, d := range w.defers {
			attempts, why := 4, "an earlier failure"
			if d.Lease.Job.Message == "text0" { // the one that was called for; another is kept for the probe
				attempts, why = 5, "slow down"
			}
			if strings.HasPrefix(d.Lease.Job.Message, "late") {
				attempts, why = 0, "not called for, as calls of its project were held back"
			}
			if d.At != opens || d.History.Attempts != attempts || !strings.Contains(d.History.LastError, why) {
				t.Errorf("deferred for %v after %d attempts because of %q", at(begin, d.At), d.History.Attempts, d.History.LastError)
			}
		}
		for _, e := range w.acks {
			late := strings.HasPrefix(e.lease.Job.Message, "late")
			if published := at(begin, e.lease.PublishedAt); !late && published != 0 || late && published != 30*time.Second {
				t.Errorf("%s came back as published after %v", e.lease.Job.Message, published)
			}
		}
	})
}

func TestDeferFails(t *testing.T) {
	for _, applied := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = failing("p", 1, &chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: time.Minute})
			fails := 3
			w.deferErr = func() (bool, error) {
				if fails--; fails >= 0 {
					return applied, errDown
				}
				return true, nil
			}
			r := w.start(Config{Concurrency: 1})
			for i := range 10 {
				w.publish(text("p", fmt.Sprint("text", i), "a"))
			}
			w.finish(r, time.Hour)
			if n := len(w.sent()); n != 11 || len(w.defers) != 9 {
				t.Errorf("%d calls, %d deferrals; want 11 and 9", n, len(w.defers))
			}
		})
	}
}

func TestDeliverAt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 2, failure503()) // the time to retry begins when it is to be delivered
		r := w.start(Config{RetryFor: time.Hour})
		job := text("p", "hello", "a")
		job.DeliverAt = time.Now().Add(2 * time.Hour)
		w.publish(job)
		w.finish(r, 24*time.Hour)
		calls := w.sent()
		if len(w.defers) != 1 || w.defers[0].At != job.DeliverAt || calls[0].at.Before(job.DeliverAt) {
			t.Errorf("deferred %+v, first call %v", w.defers, calls[0].at)
		}
		if len(w.letters) != 0 || len(calls) != 3 {
			t.Errorf("%d letters after %d calls, want none after 3", len(w.letters), len(calls))
		}
	})
}

func TestExpired(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{})
		job := text("p", "hello", "a", "b")
		job.ExpiresAt = time.Now()
		w.publish(job)
		w.finish(r, time.Minute)
		l := w.letter(queue.Expired)
		if len(w.sent()) != 0 || len(l.WovenIDs) != 2 || l.Attempts != 0 || l.Failures[0].Status != 0 {
			t.Errorf("%d calls, letter %+v", len(w.sent()), l)
		}
	})
}

// A job that expires before it is due is not put off until then.
func TestUndeliverableIsBuriedAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{})
		job := text("p", "hello", "a", "b")
		job.DeliverAt = time.Now().Add(48 * time.Hour)
		job.ExpiresAt = job.DeliverAt.Add(-time.Hour)
		w.publish(job)
		w.finish(r, time.Minute)
		l := w.letter(queue.Expired)
		if len(w.defers) != 0 || len(l.WovenIDs) != 2 || !strings.Contains(l.Failures[0].Detail, "is not after deliver_at") {
			t.Errorf("%d deferrals, letter %+v", len(w.defers), l)
		}
	})
}

func TestExpiresWhileWaiting(t *testing.T) {
	for name, err := range map[string]error{
		"here":     failure503(),
		"deferred": &chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: time.Minute, Detail: "overloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = failing("p", 1000, err)
				r := w.start(Config{})
				begin := time.Now()
				for i := range 3 {
					job := text("p", fmt.Sprint("text", i), "a")
					job.ExpiresAt = begin.Add(10 * time.Second)
					w.publish(job)
				}
				w.publish(text("p", "no end", "a"))
				time.Sleep(5 * time.Minute)
				if n := w.buried(queue.Expired); n != 3 {
					t.Fatalf("%d have expired, want 3", n)
				}
				soon := 0
				for _, l := range w.letters {
					if at(begin, l.FailedAt) < 11*time.Second {
						soon++
					}
					if !strings.Contains(l.Failures[0].Detail, "overloaded") {
						t.Errorf("the letter does not say what went wrong: %+v", l)
					}
				}
				if name == "deferred" && soon < 2 { // the third may be the gate's probe
					t.Errorf("%d of 3 expired in time", soon)
				}
				w.answers.Lock()
				w.answer = nil
				w.answers.Unlock()
				w.finish(r, time.Hour)
			})
		})
	}
}

func TestExhausted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 1e6, failure503())
		r := w.start(Config{RetryFor: 10 * time.Minute})
		begin := time.Now()
		for i := range 20 {
			w.publish(text("p", fmt.Sprint("text", i), "a"))
		}
		w.finish(r, time.Hour)
		if n := w.buried(queue.Exhausted); n != 20 {
			t.Fatalf("%d are exhausted, want 20", n)
		}
		for _, l := range w.letters {
			if after := at(begin, l.FailedAt); after < 10*time.Minute || after > 12*time.Minute {
				t.Errorf("given up after %v", after)
			}
			f, called := l.Failures[0], l.Attempts > 0
			if called != (f.Status == 503) || called != strings.Contains(f.Detail, "overloaded") || called == strings.Contains(f.Detail, "not called for") {
				t.Errorf("letter %+v", l)
			}
		}
	})
}

// A job that grew old while no worker ran is tried all the same.
func TestOldJobsAreTried(t *testing.T) {
	old := publishedAt(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC))
	t.Run("and given up at the first failure", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = failing("p", 10, failure503())
			r := w.start(Config{})
			w.publish(text("p", "hello", "a"), old)
			w.finish(r, time.Hour)
			if l := w.letter(queue.Exhausted); len(w.sent()) != 1 || l.Attempts != 1 {
				t.Errorf("%d calls, letter %+v", len(w.sent()), l)
			}
		})
	})
	t.Run("even if the gate closes over them", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = failing("p", 1, &chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: time.Minute})
			r := w.start(Config{Concurrency: 1})
			for i := range 10 {
				w.publish(text("p", fmt.Sprint("text", i), "a"), old)
			}
			w.finish(r, time.Hour)
			if n := w.buried(queue.Exhausted); n != 1 {
				t.Errorf("%d given up, want only the one that was called for", n)
			}
		})
	})
	t.Run("but not for ever", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = failing("p", 1e6, &chatapi.Error{Kind: chatapi.Credential, Status: 403})
			r := w.start(Config{Concurrency: 1})
			for i := range 100 {
				w.publish(text("p", fmt.Sprint("text", i), "a"), old)
			}
			w.finish(r, 10*time.Minute)
			if n := w.buried(queue.Exhausted); n != 100 {
				t.Errorf("%d given up, want 100", n)
			}
		})
	})
}

// Trouble with the token is no call: a letter does not count it as one.
func TestUnsentIsNoAttempt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 1e6, &chatapi.Error{Kind: chatapi.Credential, Status: 401, Unsent: true, RetryAfter: 20 * time.Second})
		r := w.start(Config{RetryFor: time.Minute})
		w.publish(text("p", "hello", "a"))
		w.finish(r, time.Hour)
		if l := w.letter(queue.Exhausted); l.Attempts != 0 || len(w.sent()) < 3 {
			t.Errorf("%d tries, letter %+v", len(w.sent()), l)
		}
	})
}
