package queue

import (
	"testing"
	"time"
)

// A consumer that is missing, of another stream, keeps no jobs from being deferred.
func TestDeferringWhileAnotherConsumerIsMissing(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "w"))
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	if err := q.js.DeleteConsumer(t.Context(), JobStream(Bulk), ConsumerName); err != nil {
		t.Fatal(err)
	}
	if err := Defer(deadline(t), []Deferral{{Lease: l, At: time.Now().Add(time.Hour), History: l.History}}); err != nil {
		t.Fatal(err)
	}
}
