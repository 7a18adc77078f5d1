package queue

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// eventually waits until done, and fails the test at the deadline.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for ctx := deadline(t); !done(); {
		if ctx.Err() != nil {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestStatusCounts(t *testing.T) {
	q := newQueue(t)
	empty, err := q.Status(t.Context(), time.Millisecond)
	if err != nil || empty.Queued != 0 || empty.Held != 0 || empty.Dead != 0 || empty.OldestAge != 0 || len(empty.Priorities) != 3 || empty.Workers == nil {
		t.Errorf("status of nothing %+v, %v", empty, err)
	}
	publish(t, q, Urgent, job("u", "m", "w"))
	publish(t, q, Normal, job("n", "m", "w", "x"))
	publish(t, q, Bulk, job("b", "m", "w"))
	jobs := openJobs(t, q, JobsConfig{})
	leases := take(t, jobs, 3)
	eventually(t, "a job has an age", func() bool {
		st, err := q.Status(t.Context(), time.Millisecond)
		return err == nil && st.OldestAge > 0.05 && st.OldestAge < 60
	})
	jobs.cancel() // nothing more is taken in
	jobs.intake.Wait()
	for _, l := range leases { // the urgent one waits, the rest of the normal one comes due, the bulk one stays held
		switch l.Job.ID {
		case "u":
			err = Defer(t.Context(), []Deferral{{Lease: l, At: time.Now().Add(time.Hour)}})
		case "n":
			err = errors.Join(l.Split(t.Context(), 1), Ack(t.Context(), []*Lease{l}))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(t, q, Urgent, job("u2", "m", "w"))
	publish(t, q, Bulk, job("b1", "m", "w"), job("b2", "m", "w"), job("b3", "m", "w"))
	expired := letter("y", 3, "a")
	expired.Reason = Expired
	bury(t, q, letter("x", 1, "a"), letter("x", 2, "a"), expired)

	var st Status
	eventually(t, "the consumers know of what was published last", func() bool { // the server tells them after its answer
		if st, err = q.Status(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
		return st.Queued == 4
	})
	for i, want := range []PriorityStatus{{Urgent, 1, 0, 0}, {Normal, 0, 0, 0}, {Bulk, 3, 1, 0}} {
		got := st.Priorities[i]
		if busy := want.Queued > 0 || want.Held > 0; (got.OldestAge > 0) != busy {
			t.Errorf("%s: the oldest is %v s old", got.Priority, got.OldestAge)
		}
		if got.OldestAge = 0; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if st.Queued != 4 || st.Held != 1 || st.Due != 1 || st.Scheduled != 1 {
		t.Errorf("status %+v", st)
	}
	if st.Dead != 3 || st.DeadByReason[Rejected] != 2 || st.DeadByReason[Expired] != 1 || st.DeadByReason[Invalid] != 0 {
		t.Errorf("dead %d, by reason %v", st.Dead, st.DeadByReason)
	}
}

// What came due and is held counts as held; the oldest job of any priority counts; all that workers gave back counts,
// and what they all saw counts once.
func TestStatusOfWhatCameDue(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Urgent, job("u", "m", "w"), job("due", "m", "w"))
	jobs := openJobs(t, q, JobsConfig{})
	for _, l := range take(t, jobs, 2) {
		if l.Job.ID == "due" {
			if err := Defer(t.Context(), []Deferral{{Lease: l, At: time.Now()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	take(t, jobs, 1)
	for i := range 2 {
		stop, err := q.Announce(nil, func() WorkerState { return WorkerState{Overdue: 3 + i, Delayed: 10} })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	var st Status
	eventually(t, "both workers answer", func() bool {
		var err error
		if st, err = q.Status(t.Context(), 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		return len(st.Workers) == 2
	})
	if st.Held != 2 || st.Due != 0 || st.Scheduled != 0 || st.OldestAge == 0 || st.OldestAge != st.Priorities[0].OldestAge || st.Overdue != 4 || st.Delayed != 20 {
		t.Errorf("status %+v", st)
	}
}

func TestStatusWithoutStreams(t *testing.T) {
	q, _ := newQueueAt(t)
	if _, err := q.Status(t.Context(), time.Millisecond); err == nil {
		t.Error("status without streams")
	}
}

func TestStatusShowsAnnouncedWorkers(t *testing.T) {
	q, b := newQueueAt(t)
	initDid(t, q, InitConfig{})
	hosts := func() []string {
		st, err := q.Status(t.Context(), 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, w := range st.Workers {
			if w.ID == "" {
				t.Errorf("worker %+v", w)
			}
			all = append(all, w.Info["host"])
		}
		slices.Sort(all)
		return all
	}
	first, second := connect(t, b), connect(t, b)
	for i, c := range []struct {
		q    *Queue
		host string
	}{{first, "one"}, {second, "two"}, {second, "three"}} {
		stop, err := c.q.Announce(map[string]string{"host": c.host}, func() WorkerState { return WorkerState{} })
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			stop()
		}
	}
	eventually(t, "two workers are shown", func() bool { return slices.Equal(hosts(), []string{"one", "two"}) })
	second.Close()
	eventually(t, "one worker is shown", func() bool { return slices.Equal(hosts(), []string{"one"}) })
}

func TestStatusShowsFullStreamsAndPausedConsumers(t *testing.T) {
	t.Parallel()
	q, _ := newQueueAt(t)
	initDid(t, q, InitConfig{MaxBytes: 64 << 10})
	if st := statusOf(t, q); len(st.Streams) != 0 {
		t.Errorf("troubles of empty streams: %+v", st.Streams)
	}
	for full := false; !full; {
		l := letter("x", 1, "a")
		l.Origin, l.Raw = "normal-"+time.Now().Format("150405.000000000")[7:], make([]byte, 1000)
		_, err := q.Bury(t.Context(), []DeadLetter{l})
		full = err != nil
	}
	if _, err := q.js.PauseConsumer(t.Context(), JobStream(Bulk), ConsumerName, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	st := statusOf(t, q)
	if len(st.Streams) != 2 {
		t.Fatalf("troubles %+v", st.Streams)
	}
	for _, s := range st.Streams {
		if s.Stream == DeadStream && (s.Full < 0.9 || s.Full > 1 || s.PausedFor != 0) || s.Stream == JobStream(Bulk) && (s.Full != 0 || s.PausedFor < 3000) {
			t.Errorf("trouble %+v", s)
		}
	}
}
