package worker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

func TestLinger(t *testing.T) {
	for linger, want := range map[time.Duration]time.Duration{0: 20 * time.Millisecond, 50 * time.Millisecond: 50 * time.Millisecond, -1: 0} {
		inWorld(t, func(t *testing.T, w *world) {
			r := w.start(Config{Linger: linger})
			time.Sleep(time.Second)
			begin := time.Now()
			w.publish(text("p", "hello", "a"))
			w.finish(r, time.Minute)
			calls := w.sent()
			if len(calls) != 1 || at(begin, calls[0].at) != want {
				t.Errorf("linger %v: %d calls, the first after %v; want 1 after %v", linger, len(calls), at(begin, calls[0].at), want)
			}
		})
	}
}

func TestEqualJobsShareACall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{})
		for i := range 10 {
			w.publish(text("p", "one", fmt.Sprint("a", i)))
			w.publish(text("p", "two", fmt.Sprint("a", i)))
			w.publish(text("q", "one", fmt.Sprint("a", i)))
			time.Sleep(time.Millisecond)
		}
		w.finish(r, time.Minute)
		if n := len(w.sent()); n != 3 {
			t.Errorf("%d calls, want 3", n)
		}
	})
}

func TestPrioritiesDoNotShareACall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{})
		for i, p := range queue.Priorities() {
			w.publish(text("p", "hello", fmt.Sprint("a", i)), priority(p))
		}
		w.finish(r, time.Minute)
		calls := w.sent()
		if len(calls) != 3 {
			t.Fatalf("%d calls, want 3", len(calls))
		}
		for _, c := range calls {
			if len(c.priorities) != 1 {
				t.Errorf("a call for %v", c.priorities)
			}
		}
	})
}

// A batch is sealed when it is granted its call, not when it has lingered.
func TestBatchGrowsWhileNoSlotIsFree(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.latency = time.Second
		r := w.start(Config{Concurrency: 1})
		w.publish(text("p", "first", "a"))
		time.Sleep(100 * time.Millisecond)
		for i := range 8 {
			w.publish(text("p", "next", fmt.Sprint("a", i)))
			time.Sleep(100 * time.Millisecond)
		}
		w.finish(r, time.Minute)
		calls := w.sent()
		if len(calls) != 2 || len(calls[1].ids) != 8 {
			t.Errorf("%d calls, want 2, the second for 8", len(calls))
		}
	})
}

func TestFullBatchesDoNotLinger(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		begin := time.Now()
		for i := range 20 {
			w.publish(text("p", "hello", fmt.Sprint("a", i)))
		}
		for i := range 5 {
			w.publish(text("q", "hello", fmt.Sprint("a", i)))
		}
		r := w.start(Config{MaxRecipients: 10, Linger: time.Second})
		w.finish(r, time.Minute)
		var got []string
		for _, c := range w.sent() {
			got = append(got, fmt.Sprint(len(c.ids), at(begin, c.at)))
		}
		if want := "[10 0s 10 0s 5 1s]"; fmt.Sprint(got) != want {
			t.Errorf("calls %v, want %v", got, want)
		}
	})
}

// Two jobs with the same text for the same person are two notifications.
func TestRecipientInTwoJobs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{})
		w.publish(text("p", "hello", "a", "b"))
		w.publish(text("p", "hello", "b", "c"))
		w.finish(r, time.Minute)
		if n := len(w.sent()); n != 2 || w.timesTold("p", "hello", "b") != 2 {
			t.Errorf("%d calls, b told %d times; want 2 and 2", n, w.timesTold("p", "hello", "b"))
		}
	})
}

func TestJobNeverSpansBatches(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{MaxRecipients: 10})
		for i := range 7 {
			w.publish(text("p", "hello", people(fmt.Sprint("j", i), 4)...))
		}
		w.finish(r, time.Minute)
		for _, c := range w.sent() {
			if len(c.ids)%4 != 0 {
				t.Errorf("a call for %d recipients of jobs of 4", len(c.ids))
			}
		}
	})
}

func TestLargeJobIsSplit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		fails := 2
		w.splitErr = func() (bool, error) {
			fails--
			if fails >= 0 {
				return fails == 0, errDown // the second time it took effect
			}
			return true, nil
		}
		r := w.start(Config{MaxRecipients: 10})
		w.publish(text("p", "hello", people("a", 25)...))
		w.finish(r, time.Minute)
		if n := len(w.sent()); w.splits != 2 || n != 3 {
			t.Errorf("%d splits and %d calls, want 2 and 3", w.splits, n)
		}
	})
}

func TestInvalidLease(t *testing.T) {
	for name, job := range map[string]queue.Job{"no job": {}, "another project": text("p", "hello", "a")} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r := w.start(Config{})
				w.publish(job, func(s *stored) { s.lease.Invalid, s.lease.Raw = queue.ErrInvalid, []byte("{nonsense") })
				w.finish(r, time.Minute)
				l := w.letter(queue.Invalid)
				if l.ProjectID != "_" || string(l.Raw) != "{nonsense" || l.Failures[0].Detail != queue.ErrInvalid.Error() || l.Origin != "normal-1" {
					t.Errorf("the letter is %+v", l)
				}
				if l.JobID != "" || l.Message != "" || l.WovenIDs != nil || len(w.sent()) != 0 {
					t.Errorf("the letter tells of a job that cannot be trusted: %+v", l)
				}
			})
		})
	}
}

// Somebody else has the job: nothing is begun, buried or acked for it here.
func TestLapsedLease(t *testing.T) {
	expired := text("p", "hello", "a")
	expired.ExpiresAt = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, job := range map[string]queue.Job{"to be called for": text("p", "hello", "a"), "expired": expired} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r := w.start(Config{})
				w.publish(job, func(s *stored) { s.lapsed = true })
				time.Sleep(redelivery - time.Second)
				if len(w.sent())+len(w.letters)+len(w.acks) != 0 {
					t.Errorf("%d calls, %d letters, %d acks; want none", len(w.sent()), len(w.letters), len(w.acks))
				}
				w.finish(r, time.Minute)
			})
		})
	}
}

func TestLeaseLapsesWhileWaiting(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.latency = time.Second
		r := w.start(Config{Concurrency: 1})
		w.publish(text("p", "first", "a"))
		time.Sleep(100 * time.Millisecond)
		w.publish(text("p", "second", "b"))
		w.publish(text("p", "second", "c"))
		time.Sleep(100 * time.Millisecond)
		w.mu.Lock()
		for l := range w.leases {
			if l.Job.WovenIDs[0] == "b" {
				w.lapse(l)
			}
		}
		w.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if w.timesTold("p", "second", "b") != 0 || w.timesTold("p", "second", "c") != 1 {
			t.Error("the job with the lapsed lease was called for, or the other was not")
		}
		w.finish(r, time.Minute)
	})
}

// Nor is a lapsed job deferred or given up, which would make two of it or bury somebody's job.
func TestLapsedLeaseIsNotDeferred(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(c call) (chatapi.Report, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for l, h := range w.leases {
				if c.n == 0 && h.ended == "" && l.Job.Message != c.message {
					w.lapse(l)
				}
			}
			return failing("p", 1-c.n, &chatapi.Error{Kind: chatapi.Credential, Status: 403})(c)
		}
		r := w.start(Config{Concurrency: 1})
		old := publishedAt(time.Now().Add(-48 * time.Hour))
		w.publish(text("p", "young", "a"))
		w.publish(text("p", "old", "b"), old, func(s *stored) { s.lease.LastError = "no luck" })
		w.publish(text("p", "young, too", "c"))
		time.Sleep(redelivery - time.Second)
		synctest.Wait()
		if len(w.letters) != 0 {
			t.Errorf("%d letters; want none", len(w.letters))
		}
		for _, d := range w.defers {
			if d.Lease.Job.Message != "young" { // the one that was called for
				t.Errorf("%s was deferred", d.Lease.Job.Message)
			}
		}
		w.finish(r, time.Hour)
	})
}

func TestSettleLapsedLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &session{w: w, held: map[person]map[*queue.Lease]bool{}}
		tasks := []*task{newTask(s.hold(w.publish(text("p", "hello", "a", "b"))))}
		tasks[0].fail("a", queue.Rejected, "blocked", 200)
		tasks[0].returnAt(time.Now())
		w.lapse(tasks[0].lease)
		x := settlement{graveyard: s}
		if x.settle(t.Context(), time.Now(), tasks); x.err != nil || len(w.letters)+len(w.defers) != 0 || len(w.freed) != 1 {
			t.Errorf("%v; %d letters, %d deferrals, %d released", x.err, len(w.letters), len(w.defers), len(w.freed))
		}
	})
}

// What is known of a job that has no room in a batch says nothing of the batch.
func TestABatchLearnsNothingFromAJobThatItDoesNotTake(t *testing.T) {
	now := time.Now()
	b := newBatch(key{}, now)
	var sets setPool
	b.add(now, newTask(&queue.Lease{Job: queue.Job{WovenIDs: []string{"a"}}}), 10, &sets)
	known := &queue.Lease{Job: queue.Job{WovenIDs: []string{"a"}}, History: queue.History{Suspected: 3, CallSize: 1}}
	if b.add(now, newTask(known), 10, &sets) {
		t.Fatal("a recipient stands in twice")
	}
	if b.next().met().suspected != 0 || b.seen().limit != 0 {
		t.Errorf("the batch is suspected %d times, and its calls may have %d recipients", b.next().met().suspected, b.seen().limit)
	}
}
