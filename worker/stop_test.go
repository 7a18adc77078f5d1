package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// What is under way is awaited and settled, the rest is given back at once, nothing is repeated.
func TestStop(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.latency = 2 * time.Second
		w.answer = rejecting("blocked", "l-0")
		r := w.start(Config{Concurrency: 2, MaxRecipients: 5})
		for i := range 10 {
			w.publish(text("p", fmt.Sprint("text", i), fmt.Sprint("a", i), fmt.Sprint("b", i)))
		}
		w.publish(text("p", "large", people("l", 20)...))
		time.Sleep(time.Second)
		begin := time.Now()
		if err := r.stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("stopping took %v", took)
		}
		if len(w.acks) != 2 || len(w.letters) != 1 {
			t.Errorf("%d acks and %d letters, want 2 and 1", len(w.acks), len(w.letters))
		}
		for _, e := range w.freed {
			if at(begin, e.at) != 0 {
				t.Errorf("%s was released after %v", e.lease.Origin(), at(begin, e.at))
			}
		}
		if len(w.freed) != 11 || w.splits != 2 { // 10, and what is left of the large job, whose parts are full and go first
			t.Errorf("%d released and %d splits, want 11 and 2", len(w.freed), w.splits)
		}
		w.finish(w.start(Config{}), time.Hour)
	})
}

func TestStopWhileIdle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{})
		time.Sleep(time.Second)
		begin := time.Now()
		if err := r.stop(); err != nil || time.Since(begin) != 0 {
			t.Errorf("Run returned %v after %v", err, time.Since(begin))
		}
	})
}

// late is a source that has one more lease when it is asked to end.
type late struct {
	*session
	w *world
}

func (l late) Next(ctx context.Context) ([]*queue.Lease, error) {
	leases, err := l.session.Next(ctx)
	if err != nil && len(l.w.roots) == 0 {
		st := l.w.publish(text("p", "hello", "a"))
		l.w.mu.Lock()
		defer l.w.mu.Unlock()
		l.w.ready = nil
		leases = append(leases, l.hold(st))
	}
	return leases, err
}

func TestLeasesThatArriveWhileStoppingAreReleased(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{}, func(s *session) Source { return late{s, w} })
		time.Sleep(time.Second)
		if err := r.stop(); err != nil || len(w.freed) != 1 {
			t.Errorf("Run returned %v, %d released; want nil and 1", err, len(w.freed))
		}
		w.finish(w.start(Config{}), time.Minute)
	})
}

// Of a job of which something is known only the rest comes back.
func TestStopWhileHalving(t *testing.T) {
	for after := 100 * time.Millisecond; after < 2500*time.Millisecond; after += 200 * time.Millisecond {
		inWorld(t, func(t *testing.T, w *world) {
			w.latency = 100 * time.Millisecond
			w.answer = refusing
			ids := bad(people("a", 100), 7, 60)
			r := w.start(Config{})
			w.publish(text("p", "hello", ids[:50]...))
			w.publish(text("p", "hello", ids[50:]...))
			time.Sleep(after)
			if err := r.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			for _, d := range w.defers {
				if len(d.WovenIDs) == 0 || len(d.WovenIDs) == 50 || d.History.Attempts == 0 {
					t.Errorf("deferred for %d recipients after %d attempts", len(d.WovenIDs), d.History.Attempts)
				}
			}
			w.finish(w.start(Config{}), time.Minute)
			exactlyBad(t, w)
			for _, id := range ids {
				if n := w.timesTold("p", "hello", id); n > 1 {
					t.Errorf("%s was told %d times", id, n)
				}
			}
		})
	}
}

// A worker that stops leaves letters that cannot be stored to others. Where they cannot be put off either, it
// says so.
func TestGraveyardDownWhileStopping(t *testing.T) {
	for name, c := range map[string]struct {
		err, deferral error
		most          time.Duration
	}{
		"fails": {errDown, nil, 0}, "hangs": {errHang, nil, 2*settleTimeout + time.Second},
		"and deferring fails": {errDown, errDown, 17 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = rejecting("blocked", "a")
				w.buryErr = func([]queue.DeadLetter) (int, error) { return 0, c.err }
				w.deferErr = func() (bool, error) { return false, c.deferral }
				r := w.start(Config{Grace: 15 * time.Second})
				w.publish(text("p", "hello", "a", "b"))
				time.Sleep(100 * time.Millisecond)
				begin := time.Now()
				if err := r.stop(); errors.Is(err, ErrUnsettled) != (c.deferral != nil) {
					t.Errorf("Run returned %v", err)
				}
				if took := time.Since(begin); took > c.most+failurePause {
					t.Errorf("stopping took %v", took)
				}
				if len(w.acks) != 0 {
					t.Error("acked without a letter")
				}
				w.buryErr, w.deferErr = nil, nil
				w.finish(w.start(Config{}), time.Minute)
				if n := len(w.sent()); n != 1 && c.deferral == nil {
					t.Errorf("%d calls, want 1", n)
				}
			})
		})
	}
}

// What is known is recorded although the time for calls is up.
func TestOutcomesAreRecordedBeyondGrace(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.latency, w.burial = 5*time.Second, 3*time.Second
		w.answer = rejecting("blocked", "a")
		r := w.start(Config{Grace: 5 * time.Second})
		w.publish(text("p", "hello", "a", "b"))
		time.Sleep(time.Second)
		begin := time.Now()
		if err := r.stop(); err != nil || len(w.acks) != 1 {
			t.Errorf("Run returned %v, %d acks; want nil and 1", err, len(w.acks))
		}
		if took := time.Since(begin); took != 7020*time.Millisecond {
			t.Errorf("stopping took %v", took)
		}
		w.accounted()
	})
}

// A call that was cut off may have been delivered, and will be repeated: that is no clean stop.
func TestCallThatHangsIsCutOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(c call) (chatapi.Report, error) {
			if c.project == "p" && c.n < 2 {
				return chatapi.Report{}, errHang
			}
			return chatapi.Report{}, nil
		}
		r := w.start(Config{Grace: 5 * time.Second})
		w.publish(text("p", "hello", "a"))
		w.publish(text("q", "hello", "a"))
		time.Sleep(time.Second)
		begin := time.Now()
		if err := r.stop(); !errors.Is(err, ErrUnsettled) {
			t.Errorf("Run returned %v", err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("stopping took %v", took)
		}
		if len(w.freed) != 0 || len(w.defers) != 1 || len(w.acks) != 1 || len(w.defers[0].History.Ambiguous) != 1 {
			t.Errorf("%d released, deferred %+v, %d acked; want none, one that remembers the call, and 1", len(w.freed), w.defers, len(w.acks))
		}
		w.finish(w.start(Config{}), time.Minute)
	})
}

// A job that could not be split is given back as a whole, also if its rest was stored all the same, and nobody is
// called for twice.
func TestStopWhileSplitsFail(t *testing.T) {
	for _, applied := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			w.splitErr = func() (bool, error) { return applied, errDown }
			r := w.start(Config{MaxRecipients: 5})
			for i := range 3 {
				w.publish(text("p", "large", people(fmt.Sprint("l", i), 20)...))
			}
			time.Sleep(1500 * time.Millisecond)
			if err := r.stop(); err != nil || !applied && len(w.calls) != 0 {
				t.Errorf("Run returned %v, and %d calls were made", err, len(w.calls))
			}
			w.splitErr = nil
			w.finish(w.start(Config{MaxRecipients: 5}), time.Minute)
			if n := len(w.sent()); n != 12 || w.splits != 9 {
				t.Errorf("%d calls and %d splits, want 12 and 9", n, w.splits)
			}
		})
	}
}

// What exceeds a call is split off when the call is granted, one rest at a time: while the gate is closed the job
// waits as a whole.
func TestLargeJobIsSplitWhenItsCallIsGranted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		down := true
		w.answer = func(c call) (chatapi.Report, error) {
			if down {
				return chatapi.Report{}, failure503()
			}
			return chatapi.Report{}, nil
		}
		r := w.start(Config{MaxRecipients: 5, Concurrency: 3})
		for i := range 10 {
			w.publish(text("p", fmt.Sprint("large", i), people("l", 500)...))
		}
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		if w.splits > 20 || len(w.standing) != 10+w.splits {
			t.Errorf("%d splits, %d jobs stand", w.splits, len(w.standing))
		}
		down = false
		w.mu.Unlock()
		w.finish(r, 3*time.Hour)
	})
}

func TestStopBehindAClosedGate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 3, failure503())
		r := w.start(Config{Concurrency: 1})
		for i := range 5 {
			w.publish(text("p", fmt.Sprint("text", i), "a"))
		}
		time.Sleep(100 * time.Millisecond)
		begin := time.Now()
		if err := r.stop(); err != nil || time.Since(begin) != 0 || len(w.freed) != 5 {
			t.Errorf("Run returned %v after %v, %d released; want nil at once and 5", err, time.Since(begin), len(w.freed))
		}
		if slices.ContainsFunc(w.events, func(e Event) bool { return e.Kind == EventTrouble }) {
			t.Error("there was trouble")
		}
		w.finish(w.start(Config{}), time.Minute)
	})
}
