package queue

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// ackUntilConfirmed repeats Ack as its contract allows.
func ackUntilConfirmed(t *testing.T, leases []*Lease) {
	t.Helper()
	ctx := deadline(t)
	for attempt := 1; ; attempt++ {
		err := Ack(ctx, leases)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("not confirmed after %d attempts: %v", attempt, err)
		}
		time.Sleep(20 * time.Millisecond) // do not spin while the server is away
	}
}

// A server that is started again while leases are held: acks are confirmed, or fail and can be
// repeated, and jobs go on coming.
func TestLeasesOutliveARestartOfTheServer(t *testing.T) {
	q, stop, start := restartable(t)
	const n = 500
	for i := range n {
		publish(t, q, Normal, job(fmt.Sprint("j", i), "m", "w"))
	}
	jobs := openJobs(t, q, JobsConfig{})
	leases := take(t, jobs, n)
	stop()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := Ack(short, leases[:n/2]); err == nil {
		t.Fatal("an ack was confirmed by a server that was stopped")
	}
	start()
	ackUntilConfirmed(t, leases[:n/2])
	if left := stored(t, q, "NOTIFY_NORMAL"); left != n/2 {
		t.Errorf("%d jobs stored, want %d", left, n/2)
	}
	bury(t, q, letter("x", 1, "w"))
	ackUntilConfirmed(t, leases[n/2:])
	if left := stored(t, q, "NOTIFY_NORMAL"); left != 0 {
		t.Errorf("%d jobs left after every ack was confirmed", left)
	}
	begun := time.Now()
	publish(t, q, Urgent, job("later", "m", "w"))
	if l := take(t, jobs, 1)[0]; l.Job.ID != "later" {
		t.Errorf("took in %q", l.Job.ID)
	}
	t.Logf("a new job came %v after the restart", time.Since(begun))
}

// What Ack confirmed stays done when the server stops right afterwards.
func TestConfirmedAcksOutliveTheServer(t *testing.T) {
	q, stop, start := restartable(t)
	for round := range 3 {
		for i := range 200 {
			publish(t, q, Bulk, job(fmt.Sprintf("r%d-%d", round, i), "m", "w"))
		}
		jobs := openJobs(t, q, JobsConfig{})
		leases := take(t, jobs, 200)
		jobs.Close()
		err := Ack(deadline(t), leases)
		before := q.nc.Stats().Reconnects
		stop()
		start()
		eventually(t, "the connection is restored", func() bool { return q.nc.Stats().Reconnects > before && q.Connected() })
		if err != nil {
			ackUntilConfirmed(t, leases)
		}
		if left := stored(t, q, "NOTIFY_BULK"); left != 0 {
			t.Fatalf("round %d: %d jobs came back after their ack was confirmed", round, left)
		}
	}
}

// A worker that is stopped while the server is away must not hang.
func TestCloseWhileTheServerIsAway(t *testing.T) {
	q, stop, start := restartable(t)
	publish(t, q, Normal, job("one", "m", "w"), job("two", "m", "w"))
	jobs, err := q.Jobs(t.Context(), JobsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	take(t, jobs, 2)
	stop()
	closed := make(chan struct{})
	go func() {
		jobs.Close()
		jobs.Close() // twice does no harm
		q.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-deadline(t).Done():
		t.Error("Close hangs while the server is away")
	}
	start()
	<-closed
}

// A job may wait for longer than the server can count in nanoseconds; it must not come back at once.
func TestDeferForCenturies(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	jobs := openJobs(t, q, JobsConfig{})
	var deferrals []Deferral
	for i, at := range []string{"2400-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z"} {
		publish(t, q, Normal, job(fmt.Sprint("j", i), "m", "w"))
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		deferrals = append(deferrals, Deferral{Lease: take(t, jobs, 1)[0], At: when})
	}
	if err := Defer(deadline(t), deferrals); err != nil {
		t.Fatal(err)
	}
	// The one for the distant past comes at once, and by then the others would have come too.
	if l := take(t, jobs, 1)[0]; l.Job.ID != "j2" {
		t.Errorf("%s came back at once", l.Job.ID)
	}
	st, err := q.Status(deadline(t), time.Millisecond)
	if err != nil || st.Scheduled != 2 || st.Due != 0 || st.Held != 1 {
		t.Errorf("status %+v, %v", st, err)
	}
}
