package worker

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// Work that fails pauses only its own kind. While nobody can be buried, or no ack is taken, whatever
// needs neither is done at once.
func TestEveryBatcherPausesByItself(t *testing.T) {
	const rounds, apart, atOnce = 50, 100 * time.Millisecond, 5 * time.Millisecond
	// What failed is tried again a second after that: acks by three batchers. A letter that was not stored is
	// postponed then.
	for failing, most := range map[string]int32{"burying": 20, "acks": 18} {
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = rejecting("blocked", "bad")
			var healed atomic.Bool
			var attempts atomic.Int32
			fail := func() error {
				if healed.Load() {
					return nil
				}
				attempts.Add(1)
				return errDown
			}
			if failing == "burying" {
				w.burial = 700 * time.Millisecond // and it takes its time to fail
				w.buryErr = func(letters []queue.DeadLetter) (int, error) {
					if err := fail(); err != nil {
						return 0, err
					}
					return len(letters), nil
				}
			} else {
				w.ackErr = fail
			}
			var deferred, split []time.Time
			r := w.start(Config{Hook: func(e Event) {
				w.mu.Lock()
				defer w.mu.Unlock()
				switch e.Kind {
				case EventDeferred:
					deferred = append(deferred, time.Now())
				case EventSplit:
					split = append(split, time.Now())
				}
			}})
			begin := time.Now()
			for i := range rounds {
				w.publish(text("p", fmt.Sprint("round", i), "good"))
				w.publish(text("p", fmt.Sprint("round", i), "bad"))
				later := text("p", "later", "good")
				later.DeliverAt = time.Now().Add(time.Hour)
				w.publish(later)
				w.publish(text("p", fmt.Sprint("large", i), people("w", 501)...))
				time.Sleep(apart)
			}
			w.mu.Lock()
			defer w.finish(r, 2*time.Hour)
			defer func() { healed.Store(true); w.mu.Unlock() }()
			if len(deferred) != rounds || len(split) != rounds {
				t.Fatalf("while %s fail: %d of %d jobs were deferred and %d split", failing, len(deferred), rounds, len(split))
			}
			for i := range rounds {
				published := begin.Add(time.Duration(i) * apart)
				if late := max(at(published, deferred[i]), at(published, split[i])); late > atOnce {
					t.Errorf("while %s fail: round %d was deferred or split %v late", failing, i, late)
				}
			}
			told := map[string]time.Time{} // when the call for a text ended
			for _, c := range w.calls {
				told[c.message] = c.end
			}
			acked := map[string]bool{}
			for _, a := range w.acks {
				message := a.lease.Job.Message
				acked[message] = true
				if late := at(told[message], a.at); late > atOnce {
					t.Errorf("while %s fail: %s was acked %v after its call", failing, message, late)
				}
			}
			for i := range rounds {
				if message := fmt.Sprint("round", i); acked[message] != (failing == "burying") {
					t.Errorf("while %s fail: %s was acked: %v", failing, message, acked[message])
				}
			}
			if n := attempts.Load(); n < 3 || n > most {
				t.Errorf("%s failed %d times in five seconds, want 3 to %d", failing, n, most)
			}
		})
	}
}

// Whatever finishes while an ack waits for its confirmation shares the next one.
func TestAcksAreShared(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const batches, confirmation = 60, 5 * time.Millisecond
		var acks []int // how many leases were acked by then, at each call of Holder.Ack
		w.ackErr = func() error { acks = append(acks, len(w.acks)); return nil }
		r := w.start(Config{Hook: func(e Event) {
			if e.Kind == EventSettled {
				time.Sleep(confirmation) // as long as this lasts, the handler does
			}
		}})
		for p := range batches {
			w.publish(text(fmt.Sprint("p", p), "hello", "a"))
		}
		w.finish(r, time.Minute)
		if calls := len(w.sent()); calls != batches || len(acks) > 3 {
			t.Errorf("%d calls ended at the same time and were acked in %d goes, after %v; want %d in 3 or less", calls, len(acks), acks, batches)
		}
		// One after the other: each began when the one before was confirmed.
		for i, a := range w.acks[1:] {
			if d := at(w.acks[i].at, a.at); d != 0 && d < confirmation {
				t.Errorf("an ack followed the one before after %v, which was not confirmed", d)
			}
		}
	})
}

// Calls that end one after another are acked together, and none of them waits for long.
func TestAcksWaitForCompany(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const jobs, apart, ackLinger = 200, 500 * time.Microsecond, 2 * time.Millisecond
		goes := 0
		w.latency = 20 * time.Millisecond
		w.ackErr = func() error { goes++; return nil }
		r := w.start(Config{Linger: -1})
		for i := range jobs {
			w.publish(text(fmt.Sprint("p", i), "hello", "a"))
			time.Sleep(apart)
		}
		w.finish(r, time.Minute)
		if most := int(jobs*apart/ackLinger) + 1; len(w.acks) != jobs || goes > most {
			t.Errorf("%d jobs were acked in %d goes, want %d in %d", len(w.acks), goes, jobs, most)
		}
		told := map[string]time.Time{}
		for _, c := range w.calls {
			told[c.project] = c.end
		}
		for _, a := range w.acks {
			if late := at(told[a.lease.Job.ProjectID], a.at); late > ackLinger {
				t.Errorf("%s was acked %v after its call, want %v at most", a.lease.Job.ProjectID, late, ackLinger)
			}
		}
	})
}

// A worker that stops acks at once, even what comes when its time is over.
func TestAcksDoNotWaitWhileStopping(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const grace = 5 * time.Second
		w.answer = func(call) (chatapi.Report, error) { // whether it is cut off or not
			time.Sleep(grace + time.Second)
			return chatapi.Report{}, nil
		}
		r := w.start(Config{Grace: grace})
		w.publish(text("p", "hello", "a"))
		time.Sleep(time.Second)
		r.stop()
		<-r.ended
		if r.err != nil || len(w.acks) != 1 {
			t.Errorf("stopped with %v, and %d acks; want 1", r.err, len(w.acks))
		}
	})
}

// Where many were told, their acks do not wait for a confirmation under way, which may take long; but
// no more than a few of these are awaited at once.
func TestManyAcksDoNotWait(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const confirmation, full = time.Second, 2000
		var awaited, most atomic.Int32
		r := w.start(Config{Hook: func(e Event) {
			if e.Kind == EventSettled {
				most.Store(max(most.Load(), awaited.Add(1)))
				time.Sleep(confirmation)
				awaited.Add(-1)
			}
		}})
		w.publish(text("first", "hello", "a"))
		time.Sleep(100 * time.Millisecond) // it is acked by now, and that not confirmed
		begin := time.Now()
		for i := range full {
			w.publish(text("many", "hello", fmt.Sprint("w-", i)))
		}
		w.publish(text("few", "hello", "a"))
		time.Sleep(2 * confirmation)
		for p := range 9 {
			for i := range full {
				w.publish(text(fmt.Sprint("p", p), "hello", fmt.Sprint("w-", i)))
			}
			time.Sleep(10 * time.Millisecond)
		}
		w.finish(r, time.Minute)
		for _, a := range w.acks {
			switch waited := at(begin, a.at); a.lease.Job.ProjectID {
			case "many":
				if waited > w.latency+5*time.Millisecond {
					t.Fatalf("one of many was acked after %v", waited)
				}
			case "few":
				if waited < confirmation/2 || waited > 2*confirmation {
					t.Errorf("one of few was acked after %v, want after the confirmations under way", waited)
				}
			}
		}
		if n := most.Load(); n < 2 || n > 4 {
			t.Errorf("%d confirmations were awaited at once, want 2 to 4", n)
		}
	})
}

// Letters that could not be stored for a while make the next attempts short, until one is stored. Letters that come
// back are buried like others, and never by those who ack; jobs that came due have batchers of their own.
func TestBurialsAreTriedPatientlyAgain(t *testing.T) {
	c, now := newCompleter(), time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	try := func(buried, unburied int) (impatient bool) {
		t.Helper()
		c.add(now, newTask(&queue.Lease{Letter: &queue.DeadLetter{}, Stream: queue.LaterStream, Priority: queue.Urgent}))
		w := c.next(now)
		if w == nil || w.ending != bury || w.stream != streams-1 {
			t.Fatalf("a letter that came back is in %+v", w)
		}
		w.buried, w.unburied = buried, unburied
		c.done(now, w, nil)
		now = now.Add(burialsFail)
		return w.impatient
	}
	for i, step := range []struct {
		buried, unburied int
		impatient        bool
	}{{0, 1, false}, {0, 1, true}, {1, 0, true}, {0, 1, false}} {
		if got := try(step.buried, step.unburied); got != step.impatient {
			t.Errorf("attempt %d: impatient %v", i, got)
		}
	}
}

// A handler that is answered shows that the server is there, whoever else waits for it.
func TestAnswersBreakTheSilence(t *testing.T) {
	c, now := newCompleter(), time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	c.hurry = true
	var works []*work
	for range 2 {
		for range c.batchers[ack][1].MaxSize {
			c.add(now, &task{lease: &queue.Lease{}, state: settled})
		}
		works = append(works, c.next(now))
	}
	answered := now.Add(time.Second)
	if c.done(answered, works[0], nil); c.unacked()[1].silent != answered {
		t.Errorf("silent since %v, an answer came at %v", c.unacked()[1].silent, answered)
	}
	if c.done(answered, works[1], nil); c.unacked()[1] != (unconfirmed{}) {
		t.Errorf("%+v although all is confirmed", c.unacked()[1])
	}
}
