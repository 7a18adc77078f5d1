//go:build faults

package main

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// brokenProject queues 20,000 jobs of a project whose calls are answered 403, and behind them 30
// jobs of ten others.
func brokenProject(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond})
	s.worker()
	broken := project(0)
	s.api.Script(chatapitest.Fault{Project: broken, Status: http.StatusForbidden, Body: "forbidden", Times: -1})
	flood := newLoad("broken", 20_000, 1, 1, 200)
	flood.publish(s)
	others := newOthers("other", 30, 10)
	delays := others.publishEvery(s, 0)
	f.add("%s", delays.words())
	f.bound(delays.at(1) < time.Second, "every job of another project delivered within 1 s")
	// The broken project's jobs wait, through another probe or two, until the credential is put
	// right.
	s.eventually(patience, "another probe", func() bool { return s.api.Counts().ByStatus[http.StatusForbidden] > 1 })
	if n := s.api.Counts().ByStatus[http.StatusForbidden]; n >= 50 {
		t.Errorf("%d calls for the broken project, want fewer than 50", n)
	}
	s.api.ClearFaults()
	s.drained(patience)
	f.add("%d calls for the broken project until it was put right", s.api.Counts().ByStatus[http.StatusForbidden])
	if got := f.account(s, flood, others); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
}

// floodedProject lets one project queue more than a minute's worth of calls, and twenty others one
// job each.
func floodedProject(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond})
	deferred := s.watchDeferrals()
	s.worker("--concurrency", "16")
	size := 60_000
	if raced {
		size = 20_000 // the detector makes so many take minutes
	}
	flood := newLoad("flood", size, 1, 1, size)
	flood.publish(s)
	others := newOthers("other", 20, 20)
	delays := others.publishEvery(s, 500*time.Millisecond)
	f.add("%s", delays.words())
	f.bound(delays.at(.9) < time.Second, "nine tenths of the others' jobs delivered within 1 s")
	s.drained(patience)
	if got := f.account(s, flood, others); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	times, most, jobs := map[int]int{}, 0, deferred()
	for _, n := range jobs {
		times[n]++
		most = max(most, n)
	}
	f.add("%s jobs deferred once, %s twice, %s more often (at most %d times)", term.Thousands(times[1]), term.Thousands(times[2]), term.Thousands(len(jobs)-times[1]-times[2]), most)
	if most > 2 {
		t.Errorf("a job was deferred %d times, want at most twice", most)
	}
}

// newOthers makes jobs of one recipient each, of projects that no other load has.
func newOthers(prefix string, jobs, projects int) load {
	l := newLoad(prefix, jobs, 1, projects, jobs)
	for i := range l.jobs {
		l.jobs[i].ProjectID = project(100 + i%projects)
	}
	return l
}

// delays are how long jobs took from their publication to their call, shortest first.
type delays []time.Duration

// at is the delay within which this part of the jobs was delivered.
func (d delays) at(part float64) time.Duration { return d[int(part*float64(len(d))+.5)-1] }

func (d delays) words() string {
	return "others' jobs delivered after " + d.at(.5).Round(time.Millisecond).String() + " (half of them), " +
		d.at(.9).Round(time.Millisecond).String() + " (nine tenths), " + d.at(1).Round(time.Millisecond).String() + " (all)"
}

// publishEvery publishes a job at a time, and returns when all of them are delivered.
func (l load) publishEvery(s *system, interval time.Duration) delays {
	s.t.Helper()
	publisher := s.q.Publisher(queue.PublisherConfig{})
	published := make([]time.Time, len(l.jobs))
	for i, job := range l.jobs {
		if i > 0 {
			time.Sleep(time.Until(published[i-1].Add(interval))) // the load's own time
		}
		published[i] = time.Now()
		if _, err := publisher.Publish(s.t.Context(), queue.Normal, job); err != nil {
			s.t.Fatal(err)
		}
	}
	var d delays
	s.eventually(patience, "delivery to the others", func() bool {
		d = l.delays(s, published)
		return len(d) == len(l.jobs)
	})
	slices.Sort(d)
	return d
}

// delays are those of the jobs that are delivered; each has one recipient.
func (l load) delays(s *system, published []time.Time) (d delays) {
	delivered := map[string]time.Time{}
	for _, c := range s.api.Calls() {
		if c.Status == http.StatusOK {
			for _, id := range c.Recipients {
				delivered[c.ProjectID+id] = c.Time
			}
		}
	}
	for i, job := range l.jobs {
		if at, ok := delivered[job.ProjectID+job.WovenIDs[0]]; ok {
			d = append(d, at.Sub(published[i]))
		}
	}
	return d
}

// watchDeferrals counts how often each job is published to wait for a later time; publishing it again
// under the same id, because a busy server's answer came late, counts once: the server keeps one.
func (s *system) watchDeferrals() (perJob func() map[string]int) {
	s.t.Helper()
	nc, err := nats.Connect(s.url, nats.SyncQueueLen(1<<20)) // a flood's jobs, several times
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync("notify.later.>")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		s.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		s.t.Fatal(err)
	}
	return func() map[string]int {
		if err := nc.Flush(); err != nil { // behind everything that was published before
			s.t.Fatal(err)
		}
		counts, known := map[string]int{}, map[string]bool{}
		for {
			msg, err := sub.NextMsg(time.Millisecond)
			if errors.Is(err, nats.ErrTimeout) {
				return counts
			}
			var job queue.Job
			if err == nil {
				err = json.Unmarshal(msg.Data, &job)
			}
			if err != nil {
				s.t.Fatalf("read a schedule: %v", err)
			}
			id := msg.Header.Get(nats.MsgIdHdr)
			if id == "" {
				s.t.Fatalf("the schedule of job %s has no id", job.ID)
			}
			if !known[id] {
				known[id] = true
				counts[job.ID]++
			}
		}
	}
}
