package worker

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// A flood of one project leaves the window to others: its excess is deferred, at most twice, to
// when it can be served, and costs the flood itself next to nothing.
func TestFloodIsDeferredToItsTurn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const jobs, slots = 20_000, 16
		w.latency = 20 * time.Millisecond
		for i := range jobs {
			w.publish(text("flood", fmt.Sprint("text", i), "a"))
		}
		begin := time.Now()
		r := w.start(Config{Concurrency: slots})
		for i := range 20 { // single jobs of others while the flood lasts
			time.Sleep(500 * time.Millisecond)
			w.publish(text(fmt.Sprint("other", i), "hello", "a"))
		}
		w.finish(r, time.Hour)
		ideal := w.latency * jobs / slots
		if took := time.Since(begin); took > ideal*115/100 {
			t.Errorf("all was done after %v; without deferring it takes %v", took, ideal)
		}
		times := map[string]int{}
		for _, d := range w.defers {
			if d.Lease.Job.ProjectID != "flood" {
				t.Errorf("a job of %s was deferred", d.Lease.Job.ProjectID)
			}
			times[d.Lease.Job.Message]++
		}
		most := 0
		for _, n := range times {
			most = max(most, n)
		}
		if len(times) < jobs/2 || most > shareDeferrals {
			t.Errorf("%d jobs were deferred, one of them %d times", len(times), most)
		}
		for _, c := range w.sent() {
			var n int
			if _, err := fmt.Sscanf(c.project, "other%d", &n); err != nil {
				continue
			}
			if waited := at(begin, c.at) - time.Duration(n+1)*500*time.Millisecond; waited > 200*time.Millisecond {
				t.Errorf("%s waited %v", c.project, waited)
			}
		}
	})
}

// Large jobs fill the window before they are many: what of them would wait long leaves it to others as well, be they
// many or few to a window, and whether their calls are slow, held back by a rate, or fail for a while.
func TestLargeJobsLeaveTheWindowToOthers(t *testing.T) {
	for name, c := range map[string]struct {
		jobs, size int
		cfg        Config
		answer     func(call) (chatapi.Report, error)
		within     time.Duration // others' jobs are delivered; 0: two seconds
	}{
		"of 60 KB":       {jobs: 4000, size: 60_000},
		"of 1 MB":        {jobs: 300, size: 1_000_000},
		"held by a rate": {jobs: 500, size: 60_000, cfg: Config{ProjectCallsPerSecond: 5}},
		"of one text":    {jobs: 4000, size: 60_000, cfg: Config{Linger: time.Second}},
		"failing at times": {jobs: 500, size: 60_000, answer: func(c call) (chatapi.Report, error) {
			if c.project == "flood" && c.n%7 == 0 {
				return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Temporary, Status: 503}
			}
			return chatapi.Report{}, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c.cfg.WindowBytes, c.cfg.Concurrency = 64<<20, 16
				c.within = cmp.Or(c.within, 2*time.Second)
				w.window, w.answer = amount{20_000, 16 << 20}, c.answer
				w.latency = 200 * time.Millisecond
				filler := strings.Repeat("m", c.size)
				for i := range c.jobs {
					job := text("flood", fmt.Sprint("text", i), filler) // which all share: it costs no memory here
					if name == "of one text" {
						job = text("flood", filler, fmt.Sprint(i))
					}
					w.publish(job)
				}
				r := w.start(c.cfg)
				time.Sleep(5 * time.Second)
				for i := range 20 {
					other := fmt.Sprint("other", i)
					w.publish(text(other, "hello", "a"))
					begin := time.Now()
					for w.timesTold(other, "hello", "a") == 0 {
						time.Sleep(10 * time.Millisecond)
						if time.Since(begin) > c.within {
							t.Fatalf("job %d of others was not delivered within %v", i, c.within)
						}
					}
					time.Sleep(100 * time.Millisecond)
				}
				w.finish(r, time.Hour)
			})
		})
	}
}

// What is served fast is never deferred, however much there is of it.
func TestBacklogThatIsServedFastIsNotDeferred(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.latency = time.Millisecond
		for i := range 20_000 {
			w.publish(text(fmt.Sprint("p", i%4), fmt.Sprint("text", i), "a"))
		}
		r := w.start(Config{})
		w.finish(r, time.Hour)
		if n := len(w.defers); n > 0 {
			t.Errorf("%d jobs were deferred", n)
		}
	})
}

// A job that was leased before is deferred until now before it is called for: if a worker died
// while it deferred it, that finds out.
func TestRedeliveredJobIsDeferredOnceMore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.publish(text("p", "hello", "a"))
		w.latency = time.Minute
		r := w.start(Config{})
		time.Sleep(time.Second)
		r.crash()
		r = w.start(Config{})
		w.finish(r, 10*time.Minute)
		if len(w.defers) != 1 || w.defers[0].At.After(w.defers[0].at) {
			t.Errorf("deferrals %+v", w.defers)
		}
	})
}
