package queue

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// impatient has the consumer of normal jobs wait so briefly for acks that leases are renewed every two seconds.
func impatient(t *testing.T) *Queue {
	t.Helper()
	q := newQueue(t)
	cfg := consumerConfig(JobStream(Normal))
	cfg.AckWait = 6 * time.Second
	if _, err := q.js.UpdateConsumer(t.Context(), JobStream(Normal), cfg); err != nil {
		t.Fatal(err)
	}
	return q
}

// A lease that lapsed does not come to life again, and one whose stream is gone is not renewed with a job of another
// stream that has its number.
func TestWhatIsNotRenewed(t *testing.T) {
	t.Parallel()
	q := impatient(t)
	publish(t, q, Normal, job("mine", "m", "w"), job("lapsed", "m", "w"), job("orphaned", "m", "w"))
	jobs := jobsWithoutCheck(t, q, JobsConfig{})
	lease := map[string]*Lease{}
	for _, l := range take(t, jobs, 3) {
		lease[l.Job.ID] = l
	}
	lease["lapsed"].LapseAt(q.Now())
	lease["orphaned"].until.Store(1<<63 - 1)
	lease["orphaned"].standing.Store(orphaned)
	for range 2 {
		before := lease["mine"].until.Load()
		eventually(t, "a lease is renewed", func() bool { return lease["mine"].until.Load() != before })
	}
	for _, name := range []string{"lapsed", "orphaned"} {
		if l := lease[name]; l.renewed.Load() == nil && l.Lapsed(q.Now()) != (name == "lapsed") || name == "orphaned" && l.until.Load() < 1<<62 {
			t.Errorf("the lease on the %s job was renewed", name)
		}
	}
}

// A lease whose renewal is not answered does not count as renewed.
func TestRenewalWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	q := impatient(t)
	publish(t, q, Normal, job("one", "m", "w"))
	var errs atomic.Int32
	jobs := jobsWithoutCheck(t, q, JobsConfig{OnError: func(error) { errs.Add(1) }})
	l := take(t, jobs, 1)[0]
	answeredBy(t, q, l, func(*nats.Msg) {})
	silent, until := l.address(), l.until.Load()
	eventually(t, "that is reported", func() bool { return errs.Load() > 0 })
	time.Sleep(50 * time.Millisecond) // what must not happen would happen at once
	if l.address() == silent && l.until.Load() != until {
		t.Error("it counts as renewed")
	}
}
