package worker

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// Letters that cannot be stored leave the window to projects without failures, however they fail, and are
// stored without another call once that is possible.
func TestLettersThatCannotBeStoredLeaveTheWindow(t *testing.T) {
	for name, err := range map[string]error{"full": fmt.Errorf("bury: %w", queue.ErrFull), "down": errDown, "silent": errHang} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				const failing = 5000
				w.window = Config{Window: 500}.withDefaults().window()
				w.answer = rejecting("blocked", "bad")
				w.buryErr = func([]queue.DeadLetter) (int, error) { return 0, err }
				for range failing {
					w.publish(text("p", "hello", "bad"))
				}
				r := w.start(Config{Window: w.window.jobs, Concurrency: 256})
				begin := time.Now()
				time.Sleep(time.Second)
				w.publish(text("good", "hello", "a"))
				for w.timesTold("good", "hello", "a") == 0 && time.Since(begin) < time.Hour {
					time.Sleep(100 * time.Millisecond)
				}
				most := map[error]time.Duration{errHang: 3 * time.Minute, errDown: time.Minute}[err]
				if took := time.Since(begin); took > max(most, 30*time.Second) {
					t.Errorf("another project's job was delivered after %v", took)
				}
				time.Sleep(10 * time.Minute)
				// Each stream has room again and again: letters that come back together are tried for a second at most.
				for _, stream := range []string{"NOTIFY_NORMAL", queue.LaterStream} {
					full := func() bool {
						w.mu.Lock()
						defer w.mu.Unlock()
						return w.holding[stream].fills(w.window) >= .75
					}
					for since := time.Now(); full(); time.Sleep(100 * time.Millisecond) {
						if time.Since(since) > 30*time.Second {
							t.Fatalf("jobs of %s fill the window", stream)
						}
					}
				}
				calls := len(w.sent())
				w.answers.Lock()
				w.buryErr = nil
				w.answers.Unlock()
				w.finish(r, 2*time.Hour)
				if len(w.letters) != failing || len(w.sent()) != calls {
					t.Errorf("%d letters, and %d more calls", len(w.letters), len(w.sent())-calls)
				}
			})
		})
	}
}

// Of a job with two letters the one that was stored is not written again, the other comes back with what is
// known of it, and only the rest is called for.
func TestOneLetterOfAJobIsPostponed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		published := time.Now()
		s := &session{w: w, held: map[person]map[*queue.Lease]bool{}}
		w.refuses = func(l queue.DeadLetter) bool { return l.Reason == queue.Refused }
		x := newTask(s.hold(w.publish(text("p", "hello", "a", "b", "c"))))
		x.fail("a", queue.Rejected, "blocked", 200)
		x.fail("b", queue.Refused, "bad", 400)
		x.rest = []string{"c"}
		x.returnAt(time.Now().Add(time.Minute))
		for i := range burialTries {
			s := settlement{graveyard: s}
			s.settle(t.Context(), time.Now(), []*task{x})
			if last := i == burialTries-1; last != (len(s.postponed) == 1) || !last != (len(s.left) == 1) || len(s.unburied) != 1 || !errors.Is(s.why, errDown) {
				t.Fatalf("attempt %d: %d postponed, %d left, %d not buried, %v", i, len(s.postponed), len(s.left), len(s.unburied), s.why)
			}
		}
		if len(w.buries) != 1 || len(w.defers) != 1 {
			t.Fatalf("%d burials and %d deferrals; want 1 and 1", len(w.buries), len(w.defers))
		}
		d := w.defers[0]
		if !slices.Equal(d.WovenIDs, []string{"c"}) || len(d.Letters) != 1 || d.Letters[0].Reason != queue.Refused || d.At.Sub(published) != time.Minute {
			t.Errorf("deferred: %+v", d)
		}
		w.refuses = nil
		w.finish(w.start(Config{}), time.Hour)
		if l := w.letter(queue.Refused); l.FailedAt.Sub(published) > time.Millisecond || l.Origin != "normal-1" {
			t.Errorf("the letter is %+v", l)
		}
		if calls := w.sent(); len(calls) != 1 || !slices.Equal(calls[0].ids, []string{"c"}) {
			t.Errorf("calls %+v", calls)
		}
	})
}

// A graveyard that is full stays so for a while: there is no second attempt before the letter is put off.
func TestFullGraveyardIsTriedOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.buryErr = func([]queue.DeadLetter) (int, error) { return 0, queue.ErrFull }
		s := &session{w: w, held: map[person]map[*queue.Lease]bool{}}
		x := newTask(s.hold(w.publish(text("p", "hello", "a"))))
		x.fail("a", queue.Rejected, "blocked", 200)
		one := settlement{graveyard: s}
		if one.settle(t.Context(), time.Now(), []*task{x}); len(one.postponed) != 1 || len(one.left) != 0 {
			t.Errorf("%d postponed, %d left", len(one.postponed), len(one.left))
		}
	})
}

// What can neither be buried nor put off is held until one of them works, and told of nobody twice.
func TestNeitherBuriedNorDeferred(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = rejecting("blocked", "bad")
		down := func() error { return queue.ErrFull }
		w.buryErr = func([]queue.DeadLetter) (int, error) { return 0, down() }
		w.deferErr = func() (bool, error) { return false, down() }
		r := w.start(Config{})
		for i := range 50 {
			w.publish(text("p", fmt.Sprint("text", i), "a", "bad"))
		}
		time.Sleep(time.Minute)
		w.mu.Lock()
		if len(w.acks) != 0 || len(w.standing) != 50 {
			t.Errorf("%d acked, %d left", len(w.acks), len(w.standing))
		}
		w.deferErr = nil
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.mu.Lock()
		for stream, held := range w.holding {
			if held.jobs != 0 {
				t.Errorf("%d leases on jobs of %s are held", held.jobs, stream)
			}
		}
		w.mu.Unlock()
		w.answers.Lock()
		w.buryErr = nil
		w.answers.Unlock()
		w.finish(r, time.Hour)
		if len(w.sent()) != 50 || len(w.letters) != 50 {
			t.Errorf("%d calls, %d letters", len(w.sent()), len(w.letters))
		}
	})
}

// A stream that confirms no acks holds up calls for its own jobs only.
func TestOneSilentStream(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const concurrency, jobs = 4, 500
		w.ackOf = func(l *queue.Lease) error {
			if l.Priority == queue.Bulk {
				return errors.New("no answer")
			}
			return nil
		}
		r := w.start(Config{Concurrency: concurrency})
		for i := range jobs {
			w.publish(text("bulk", fmt.Sprint("text", i), "a"), priority(queue.Bulk))
		}
		time.Sleep(10 * time.Second)
		w.mu.Lock()
		if n := len(w.calls); n > (unconfirmedMost+1)*concurrency {
			t.Errorf("%d calls for a stream that confirms none", n)
		}
		w.mu.Unlock()
		w.publish(text("normal", "hello", "a"))
		time.Sleep(time.Second)
		if w.timesTold("normal", "hello", "a") != 1 || len(w.acks) != 1 {
			t.Errorf("a job of another stream is not delivered, or not acked: %d acks", len(w.acks))
		}
		w.mu.Lock()
		w.ackOf = nil
		w.mu.Unlock()
		w.finish(r, time.Hour)
	})
}
