package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// lowered gives jobs at a server whose max_payload was lowered since they were published, and what was published: a
// job with many recipients, one that is none, and a small one.
func lowered(t *testing.T) (q *Queue, jobs *Jobs, large, odd, small *Lease) {
	t.Helper()
	s := serverOf(t, `jetstream {}; max_payload: 4MB`)
	before := works(t, Config{URL: s.ClientURL()})
	many := job("large", "m")
	for i := range 60_000 {
		many.WovenIDs = append(many.WovenIDs, fmt.Sprintf("w-%06d", i))
	}
	for _, j := range []Job{many, job("odd", strings.Repeat("m", 500<<10), "w"), job("small", "m", "w")} {
		data, err := j.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := before.js.Publish(t.Context(), JobSubject(Normal, projectA), data); err != nil {
			t.Fatal(err)
		}
	}
	s.reload(t, func(o *server.Options) { o.MaxPayload = 400 << 10 })
	q = connectTo(t, s.ClientURL())
	jobs, err := q.openJobs(t.Context(), JobsConfig{}) // Jobs demands that the streams be edited first; a worker goes on
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(jobs.Close)
	all := take(t, jobs, 3)
	return q, jobs, all[0], all[1], all[2]
}

// everybody takes jobs until all of these recipients came, each once.
func everybody(t *testing.T, jobs *Jobs, want []string) {
	t.Helper()
	came := map[string]int{}
	for n := 0; n < len(want); {
		leases, err := jobs.Next(deadline(t))
		if err != nil {
			t.Fatalf("%d of %d recipients came: %v", n, len(want), err)
		}
		for _, l := range leases {
			for _, id := range l.Job.WovenIDs {
				came[id]++
				n++
			}
		}
	}
	for _, id := range want {
		if came[id] != 1 {
			t.Fatalf("%s came %d times", id, came[id])
		}
	}
}

// What does not fit into one message any more comes back in several. What cannot be deferred at all keeps no others
// from it.
func TestDeferringWhatIsTooLargeByNow(t *testing.T) {
	t.Parallel()
	q, jobs, large, odd, small := lowered(t)
	at := time.Now().Add(time.Second)
	var all []Deferral
	for _, l := range []*Lease{large, odd, small} {
		all = append(all, Deferral{Lease: l, At: at, History: History{Attempts: 1}})
	}
	if err := Defer(deadline(t), all); err == nil {
		t.Error("what is no job was deferred")
	}
	if n := stored(t, q, JobStream(Normal)); n != 1 || !large.Over() || odd.Over() || !small.Over() {
		t.Errorf("%d jobs are left in the stream, want the one that is none", n)
	}
	everybody(t, jobs, append(large.Job.WovenIDs, "w"))
}

func TestSplittingWhatIsTooLargeByNow(t *testing.T) {
	t.Parallel()
	_, jobs, large, _, _ := lowered(t)
	rest := large.Job.WovenIDs[500:]
	for range 2 { // again after an answer was lost
		whole := large.Job
		if err := large.Split(deadline(t), 500); err != nil {
			t.Fatal(err)
		}
		large.Job.WovenIDs = whole.WovenIDs
	}
	everybody(t, jobs, rest)
}
