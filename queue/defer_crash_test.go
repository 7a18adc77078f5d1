package queue

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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
