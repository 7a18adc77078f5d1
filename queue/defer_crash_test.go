package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A worker that dies between publishing a schedule and acking the job repeats nothing: whoever gets
// the job next defers it until now, as workers do with what was leased before, and that is known.
func TestCrashWhileDeferringRepeatsNothing(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "w"))
	jobs := openJobs(t, q, JobsConfig{})
	first := take(t, jobs, 1)[0]
	// What Defer does up to the crash.
	msg, err := requeueMessage(first, first.Job, first.History)
	if err != nil {
		t.Fatal(err)
	}
	msg.Header.Set("Nats-Schedule", "@at "+time.Now().UTC().Format(time.RFC3339Nano))
	msg.Header.Set("Nats-Schedule-Target", msg.Subject)
	msg.Header.Set("Nats-Msg-Id", "later."+first.Origin())
	msg.Subject = laterPrefix + first.Origin()
	if err := q.publishAll(t.Context(), []*nats.Msg{msg}); err != nil {
		t.Fatal(err)
	}
	due := take(t, jobs, 1)[0] // it came due and is done by somebody
	if err := Ack(deadline(t), []*Lease{due}); err != nil {
		t.Fatal(err)
	}
	first.Release() // and the job itself comes again
	again := take(t, jobs, 1)[0]
	if !again.Redelivered || again.Origin() != first.Origin() {
		t.Fatalf("lease %+v", again)
	}
	if err := Defer(deadline(t), []Deferral{{Lease: again, At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, q, "NOTIFY_NORMAL") + stored(t, q, LaterStream); n != 0 {
		t.Errorf("%d jobs stored, want none: it was done", n)
	}
}

// A worker that dies between postponing the letter that is all that is left of a job and acking it repeats no call.
func TestCrashWhilePostponingALetter(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a", "b"))
	jobs := openJobs(t, q, JobsConfig{})
	first := take(t, jobs, 1)[0]
	d := Deferral{Lease: first, At: time.Now().Add(time.Hour), WovenIDs: []string{}, Letters: []DeadLetter{{
		JobID: "one", ProjectID: projectA, Priority: Normal, Message: "m", WovenIDs: []string{"a"}, Reason: Rejected, Origin: first.Origin(),
	}}}
	if err := jobs.publishDeferrals(deadline(t), []Deferral{d})[0]; err != nil { // what Defer does up to the crash
		t.Fatal(err)
	}
	first.Release()
	again := take(t, jobs, 1)[0]
	if err := Defer(deadline(t), []Deferral{{Lease: again, At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, q, LaterStream); n != 1 {
		t.Errorf("%d wait, want the letter", n)
	}
}

// A large job that a worker deferred whole before it died is not split by the next one: the rest would come twice.
// What was split off before is known, and not published again.
func TestCrashWhileDeferringALargeJob(t *testing.T) {
	for _, split := range []bool{false, true} {
		q := newQueue(t)
		publish(t, q, Normal, job("one", "m", "a", "b", "c"))
		jobs := openJobs(t, q, JobsConfig{})
		first := take(t, jobs, 1)[0]
		d := Deferral{Lease: first, At: time.Now().Add(time.Hour), History: first.History}
		come := 1
		if split {
			come = 2
			if err := first.Split(deadline(t), 2); err != nil {
				t.Fatal(err)
			}
			d.WovenIDs = []string{"a", "b"}
		}
		if err := jobs.publishDeferrals(deadline(t), []Deferral{d})[0]; err != nil { // what Defer does up to the crash
			t.Fatal(err)
		}
		want := stored(t, q, LaterStream)
		first.Release()
		for _, again := range take(t, jobs, come) {
			if again.Stream == LaterStream {
				continue // what was split off
			}
			if err := again.Split(deadline(t), 2); err != nil {
				t.Fatal(err)
			}
			if err := Defer(deadline(t), []Deferral{{Lease: again, At: time.Now(), WovenIDs: []string{"a", "b"}}}); err != nil {
				t.Fatal(err)
			}
		}
		if n := stored(t, q, LaterStream); n != want {
			t.Errorf("split before: %v: %d jobs wait, want %d", split, n, want)
		}
	}
	q := newQueue(t) // and one of which nothing was recorded is split
	publish(t, q, Normal, job("one", "m", "a", "b", "c"))
	jobs := openJobs(t, q, JobsConfig{})
	take(t, jobs, 1)[0].Release()
	again := take(t, jobs, 1)[0]
	if err := again.Split(deadline(t), 2); err != nil || !again.Redelivered {
		t.Fatalf("%v, redelivered: %v", err, again.Redelivered)
	}
	if part := take(t, jobs, 1)[0]; len(part.Job.WovenIDs) != 1 || part.Job.WovenIDs[0] != "c" {
		t.Errorf("the rest came as %v", part.Job.WovenIDs)
	}
}

// A job of which a letter cannot be put off stays, although its other recipients can.
func TestDeferralOfWhichALetterFails(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a", "b"))
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	limit(t, q, LaterStream, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 8 << 10 })
	dead := letter("one", 1, "a")
	dead.Message = strings.Repeat("m", 50<<10)
	d := Deferral{Lease: l, At: time.Now().Add(time.Hour), WovenIDs: []string{"b"}, Letters: []DeadLetter{dead}, History: l.History}
	if err := jobs.Defer(deadline(t), []Deferral{d}); err == nil || jobs.Held() != 1 || stored(t, q, JobStream(Normal)) != 1 {
		t.Errorf("%v; %d jobs are held, %d stored", err, jobs.Held(), stored(t, q, JobStream(Normal)))
	}
}
