package queue

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What README.md says about stopping a campaign: what workers hold is not purged, so they stop first; then what
// waits for a later time is purged as well.
func TestPurgeStopsACampaign(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for _, id := range []string{"held", "deferred", "due", "queued"} {
		publish(t, q, Bulk, job(id, "m", "w"))
	}
	jobs := openJobs(t, q, JobsConfig{})
	leases := take(t, jobs, 4)
	if err := Defer(t.Context(), []Deferral{{Lease: leases[1], At: time.Now().Add(time.Hour)}, {Lease: leases[2], At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	take(t, jobs, 1) // the due one

	purge(t, q, "NOTIFY_BULK", JobSubject(Bulk, projectA))
	if jobs.Held() != 3 {
		t.Errorf("a purge took %d of 3 held jobs from the worker", 3-jobs.Held())
	}
	leases[0].Release() // as a worker that stops does
	leases[3].Release()
	jobs.Close()
	purge(t, q, LaterStream, duePrefix+"bulk."+projectA)
	purge(t, q, LaterStream, laterPrefix+projectA+".>")
	for _, stream := range []string{"NOTIFY_BULK", LaterStream} {
		if n := stored(t, q, stream); n != 0 {
			t.Errorf("%d jobs are left in %s", n, stream)
		}
	}
}

func purge(t *testing.T, q *Queue, name, subject string) {
	t.Helper()
	stream, err := q.js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
		t.Fatal(err)
	}
}
