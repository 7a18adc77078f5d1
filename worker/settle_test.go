package worker

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// rejecting answers that the API did not reach some.
func rejecting(reason string, ids ...string) func(call) (chatapi.Report, error) {
	return func(c call) (chatapi.Report, error) {
		var failed []string
		for _, id := range c.ids {
			if slices.Contains(ids, id) {
				failed = append(failed, id)
			}
		}
		if failed == nil {
			return chatapi.Report{}, nil
		}
		return chatapi.Report{Failures: []chatapi.Failure{{WovenIDs: failed, Reason: reason}}}, nil
	}
}

func TestRejectedRecipientsAreBuried(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = rejecting("user not found", "b", "d")
		r := w.start(Config{})
		published := time.Now()
		w.publish(text("p", "hello", "a", "b", "c", "d"), func(s *stored) { s.lease.Replays, s.lease.Attempts = 2, 3 })
		w.publish(text("p", "hello", "e"))
		w.finish(r, time.Minute)
		got := w.letter(queue.Rejected)
		want := queue.DeadLetter{
			JobID: "job-1", ProjectID: "p", Priority: queue.Normal, Message: "hello", WovenIDs: []string{"b", "d"},
			Reason:   queue.Rejected,
			Failures: []queue.Failure{{WovenIDs: []string{"b", "d"}, Detail: "user not found", Status: 200}},
			History:  queue.History{Attempts: 4, PublishedAt: published, Replays: 2},
			FailedAt: got.FailedAt, Origin: "normal-1",
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("the letter is\n%+v, want\n%+v", got, want)
		}
		if took := at(published, got.FailedAt); took != 40*time.Millisecond {
			t.Errorf("failed after %v, want 40ms", took)
		}
		if len(w.sent()) != 1 {
			t.Errorf("%d calls, want 1", len(w.sent()))
		}
	})
}

// One letter for each reason, one entry for each thing that was said.
func TestLetters(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	l := queue.NewLease(&queue.Lease{Job: text("p", "hello", "a", "b", "c", "d", "e"), Priority: queue.Bulk, Stream: "NOTIFY_BULK", Seq: 7}, nil)
	task := newTask(l)
	task.fail("a", queue.Rejected, "not found", 200)
	task.fail("b", queue.Refused, "bad", 400)
	task.fail("c", queue.Rejected, "blocked", 200)
	task.fail("d", queue.Rejected, "not found", 200)
	task.fail("e", queue.Expired, "late", 0)
	letters := task.letters(now)
	if len(letters) != 3 || task.open != 0 {
		t.Fatalf("%d letters, %d open; want 3 and 0", len(letters), task.open)
	}
	first := letters[0]
	want := []queue.Failure{{WovenIDs: []string{"a", "d"}, Detail: "not found", Status: 200}, {WovenIDs: []string{"c"}, Detail: "blocked", Status: 200}}
	if first.Reason != queue.Rejected || !reflect.DeepEqual(first.Failures, want) || !reflect.DeepEqual(first.WovenIDs, []string{"a", "d", "c"}) {
		t.Errorf("the first letter is %+v", first)
	}
	for _, l := range letters {
		if l.Origin != "bulk-7" || l.FailedAt != now || l.Priority != queue.Bulk || l.Message != "hello" {
			t.Errorf("letter %+v", l)
		}
	}
	if again := task.letters(now); !reflect.DeepEqual(again, letters) {
		t.Error("asked again, the letters differ")
	}
}

func TestGraveyardDownForAWhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = rejecting("blocked", "b", "c")
		fails := 4
		w.buryErr = func(letters []queue.DeadLetter) (int, error) {
			if fails--; fails >= 0 {
				return len(letters) / 2, errDown // partly written
			}
			return len(letters), nil
		}
		r := w.start(Config{})
		begin := time.Now()
		w.publish(text("p", "hello", "a", "b"))
		w.publish(text("p", "hello", "c", "d"))
		w.finish(r, time.Minute)
		if len(w.sent()) != 1 || len(w.letters) != 2 {
			t.Errorf("%d calls, %d letters; want 1 and 2", len(w.sent()), len(w.letters))
		}
		if first, last := at(begin, w.acks[0].at), at(begin, w.acks[1].at); first > 50*time.Millisecond || last < postponedFirst || last > time.Minute {
			t.Errorf("acked after %v and %v: the letter that was stored does not wait for the other", first, last)
		}
	})
}

// One letter that can never be written holds up no other job.
func TestPoisonedLetter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = rejecting("blocked", "poison", "x", "y")
		w.buryErr = func(letters []queue.DeadLetter) (int, error) {
			if slices.ContainsFunc(letters, func(l queue.DeadLetter) bool { return l.WovenIDs[0] == "poison" }) {
				return 0, errors.New("too large")
			}
			return len(letters), nil
		}
		r := w.start(Config{Grace: time.Second})
		w.publish(text("p", "hello", "poison"))
		for _, id := range append(people("a", 20), "x", "y") {
			w.publish(text("p", "hello", id))
		}
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		if len(w.standing) != 1 {
			t.Errorf("%d jobs are left, want the poisoned one only", len(w.standing))
		}
		w.mu.Unlock()
		if err := r.stop(); err != nil {
			t.Errorf("Run returned %v: the letter waits elsewhere", err)
		}
		if n := len(w.defers); n < 4 || n > 6 {
			t.Errorf("the letter was postponed %d times in five minutes", n)
		}
		w.buryErr = nil
		w.finish(w.start(Config{}), time.Hour)
	})
}

// Who needs no letter is settled although nobody can be buried. The lease of who does is kept, however long
// that takes.
func TestSettleWhileNobodyCanBeBuried(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.buryErr = func([]queue.DeadLetter) (int, error) { return 0, errDown }
		s := &session{w: w, held: map[person]map[*queue.Lease]bool{}}
		var tasks []*task
		for _, message := range []string{"clean", "marked"} {
			x := newTask(s.hold(w.publish(text("p", message, "a", "b"))))
			x.returnAt(time.Now())
			tasks = append(tasks, x)
		}
		tasks[1].fail("a", queue.Rejected, "blocked", 200)
		x := settlement{graveyard: s}
		x.settle(t.Context(), time.Now(), tasks)
		if !errors.Is(x.why, errDown) || len(x.letters) != 0 || !slices.Equal(x.left, tasks[1:]) || len(w.defers) != 1 || w.defers[0].Lease != tasks[0].lease {
			t.Errorf("%v, %d letters and left %d; deferred were %+v", x.why, len(x.letters), len(x.left), w.defers)
		}
		for i, x := range tasks {
			if kept := !reflect.ValueOf(x.lease).Elem().FieldByName("kept").IsZero(); kept != (i == 1) {
				t.Errorf("the lease on the %s job is kept: %v", x.lease.Job.Message, kept)
			}
		}
	})
}

// What was split off by an attempt that failed does not come back with the rest of its job as well, and while it
// cannot be found out whether it was, nothing comes back.
func TestDeferredAfterASplitThatFailed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.splitErr = func() (bool, error) { return true, errDown }
		s := &session{w: w, held: map[person]map[*queue.Lease]bool{}}
		x := newTask(s.hold(w.publish(text("p", "hello", people("a", 8)...))))
		x.exceed(5)
		if err := x.splitOff(t.Context(), 5); err == nil {
			t.Fatal("the split did not fail")
		}
		x.returnAt(time.Now())
		one := settlement{graveyard: s}
		if one.settle(t.Context(), time.Now(), []*task{x}); one.err == nil || len(one.left) != 1 || len(w.defers) != 0 {
			t.Fatalf("%v; %d left, %d deferred", one.err, len(one.left), len(w.defers))
		}
		w.splitErr = nil
		two := settlement{graveyard: s}
		if two.settle(t.Context(), time.Now(), one.left); two.err != nil || len(w.defers) != 1 || w.splits != 1 {
			t.Fatalf("%v; %d deferred, %d splits", two.err, len(w.defers), w.splits)
		}
		w.finish(w.start(Config{}), time.Minute)
		for _, id := range people("a", 8) {
			if n := w.timesTold("p", "hello", id); n != 1 {
				t.Errorf("%s was told %d times", id, n)
			}
		}
	})
}

// An attempt to end leases that is never answered is given up.
func TestSilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTask(queue.NewLease(&queue.Lease{Job: text("p", "hello", "a")}, silentHolder{}))
		x.deliver()
		begin, s := time.Now(), settlement{}
		if s.settle(t.Context(), begin, []*task{x}); s.err == nil || len(s.left) != 1 || time.Since(begin) != settleTimeout {
			t.Errorf("%v after %v, %d left", s.err, time.Since(begin), len(s.left))
		}
	})
}

// silentHolder never answers.
type silentHolder struct{ queue.Holder }

func (silentHolder) Ack(ctx context.Context, _ []*queue.Lease) error {
	<-ctx.Done()
	return ctx.Err()
}

// A deferral that failed may have taken effect. So it is tried again, even if the lease has lapsed meanwhile:
// it can end in no other way.
func TestFailedDeferralIsRepeated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.deferErr = func() (bool, error) { return true, errDown }
		s := &session{w: w, held: map[person]map[*queue.Lease]bool{}}
		tasks := []*task{newTask(s.hold(w.publish(text("p", "hello", "a"))))}
		tasks[0].returnAt(time.Now())
		x := settlement{graveyard: s}
		if x.settle(t.Context(), time.Now(), tasks); x.err == nil || len(x.left) != 1 {
			t.Fatalf("%v, and left %d", x.err, len(x.left))
		}
		w.lapse(tasks[0].lease)
		w.deferErr = nil
		x = settlement{graveyard: s}
		x.settle(t.Context(), time.Now(), tasks)
		if how := w.leases[tasks[0].lease].ended; x.err != nil || len(x.left) != 0 || how != "defer" {
			t.Errorf("the second time %v, and left %d; the lease ended by %q", x.err, len(x.left), how)
		}
	})
}

func TestAckFails(t *testing.T) {
	for name, lost := range map[string]bool{"before it takes effect": false, "after it took effect": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = rejecting("blocked", "b")
				fails := 3
				fail := func() error {
					if fails--; fails >= 0 {
						return errDown
					}
					return nil
				}
				if lost {
					w.ackLost = fail
				} else {
					w.ackErr = fail
				}
				r := w.start(Config{})
				w.publish(text("p", "hello", "a", "b"))
				time.Sleep(10 * time.Second)
				w.finish(r, time.Minute)
				if len(w.sent()) != 1 || len(w.letters) != 1 || fails >= 0 {
					t.Errorf("%d calls, %d letters, %d acks to fail; want 1, 1, none", len(w.sent()), len(w.letters), fails)
				}
			})
		})
	}
}

func TestEvents(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = rejecting("blocked", "b")
		r := w.start(Config{})
		w.publish(text("p", "hello", "a", "b"))
		w.finish(r, time.Minute)
		var kinds []EventKind
		for _, e := range w.events {
			kinds = append(kinds, e.Kind)
		}
		if !slices.Equal(kinds, []EventKind{EventCall, EventSettled}) {
			t.Fatalf("events %v", kinds)
		}
		c, s := w.events[0], w.events[1]
		if c.ProjectID != "p" || c.Priority != queue.Normal || c.Jobs != 1 || c.Recipients != 2 || c.Delivered != 1 || c.Status != 200 || c.Duration != w.latency || c.Err != nil {
			t.Errorf("call event %+v", c)
		}
		if s.ProjectID != "p" || s.Jobs != 1 || s.Recipients != 2 || len(s.Letters) != 1 {
			t.Errorf("settled event %+v", s)
		}
	})
}
