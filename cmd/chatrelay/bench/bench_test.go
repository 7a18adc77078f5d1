package bench

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

// mergedCalls puts a workload's jobs into calls one by one: into the last one of its kind, if there
// is room.
func mergedCalls(w Workload) (calls int) {
	room := map[[2]int]int{}
	for n := range w.Jobs {
		project, message := w.kind(n)
		kind, rest := [2]int{project, message}, w.Recipients
		for rest > 0 {
			part := min(rest, w.Limit)
			if rest -= part; room[kind] < part {
				calls++
				room[kind] = w.Limit
			}
			room[kind] -= part
		}
	}
	return calls
}

func TestBenchIdealIsWhatCanBeReached(t *testing.T) {
	for name, want := range map[string]int{"W1": 400, "W2": 50_000, "W3": 2000, "W4": 50_000, "L": 1000} {
		w := Named(name)
		if got := w.Ideal(); got != want || mergedCalls(w) != want {
			t.Errorf("%s takes %d calls, and %d when merged; want %d", name, got, mergedCalls(w), want)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		w := Workload{Jobs: r.IntN(400), Recipients: 1 + r.IntN(20), Projects: 1 + r.IntN(6), Messages: r.IntN(5), Limit: 20 + r.IntN(30)}
		if got, want := w.Ideal(), mergedCalls(w); got != want {
			t.Fatalf("%+v: ideal %d, want %d", w, got, want)
		}
		// The parts of jobs that are larger than a call are calls of their own.
		w.Limit, w.Messages = 1+r.IntN(w.Recipients), 0
		if got, want := w.Ideal(), mergedCalls(w); got != want {
			t.Fatalf("%+v: ideal %d, want %d", w, got, want)
		}
	}
}

// The jobs of a workload are spread evenly, valid, and no recipient is in two.
func TestBenchJobs(t *testing.T) {
	for _, w := range Workloads() {
		w.Jobs, w.Recipients = min(w.Jobs, 300), min(w.Recipients, 7)
		kinds, projects, seen := map[[2]int]int{}, map[int]int{}, map[string]bool{}
		for n := range w.Jobs {
			project, message := w.kind(n)
			kinds[[2]int{project, message}]++
			projects[project]++
			j := w.job(n)
			p, okP := number(j.ProjectID, projectPrefix)
			m, okM := number(j.Message, messagePrefix)
			if err := j.Validate(); err != nil || !okP || !okM || p != project || m != message || seen[j.ID] {
				t.Fatalf("%s: job %d of kind %d, %d is %.200v (%v)", w.Name, n, project, message, j, err)
			}
			seen[j.ID] = true
			for i, id := range j.WovenIDs {
				if at, ok := number(id, recipientPrefix); !ok || at != n*w.Recipients+i || seen[id] {
					t.Fatalf("%s: recipient %d of job %d is %q", w.Name, i, n, id)
				}
				seen[id] = true
			}
		}
		want := w.Projects * w.Messages
		if w.Messages == 0 {
			want = w.Jobs
		}
		if len(kinds) != want || len(projects) != w.Projects || len(seen) != w.Jobs*(1+w.Recipients) {
			t.Errorf("%s: %d kinds of %d projects, %d names; want %d, %d, %d", w.Name, len(kinds), len(projects), len(seen), want, w.Projects, w.Jobs*(1+w.Recipients))
		}
		for k, n := range kinds {
			if n != w.Jobs/want {
				t.Errorf("%s: %d jobs of kind %v", w.Name, n, k)
			}
		}
	}
}

// benchCall is a call for a job of the workload.
func benchCall(w Workload, n int) chatapitest.Call {
	j := w.job(n)
	return chatapitest.Call{ProjectID: j.ProjectID, Message: j.Message, Recipients: j.WovenIDs, Delivered: true, Time: time.Unix(0, int64(n+1)*1e6)}
}

// Whatever is called for, the tally knows the recipients that were delivered to, those more than once, and
// the deliveries that were not asked for. A measurement with anything but one delivery to each is an error.
func TestBenchTally(t *testing.T) {
	w := Workload{Jobs: 8, Recipients: 3, Projects: 2, Messages: 2, Limit: 10, Timed: true}
	for name, c := range map[string]struct {
		change func(calls []chatapitest.Call) []chatapitest.Call
		want   tallied
		err    string
	}{
		"all once":     {func(c []chatapitest.Call) []chatapitest.Call { return c }, tallied{Delivered: 24}, ""},
		"nothing":      {func([]chatapitest.Call) []chatapitest.Call { return nil }, tallied{}, "24 were not delivered to, 0 more than once, and 0 deliveries were not asked for"},
		"one job lost": {func(c []chatapitest.Call) []chatapitest.Call { return c[1:] }, tallied{Delivered: 21}, "3 were not delivered to, 0 more than once, and 0"},
		"one lost": {func(c []chatapitest.Call) []chatapitest.Call {
			c[5].Recipients = c[5].Recipients[:2]
			return c
		}, tallied{Delivered: 23}, "1 were not delivered to"},
		"a call that nobody got": {func(c []chatapitest.Call) []chatapitest.Call {
			c[2].Delivered = false
			return c
		}, tallied{Delivered: 21}, "3 were not delivered to"},
		"delivered twice": {func(c []chatapitest.Call) []chatapitest.Call { return append(c, c[3]) },
			tallied{Delivered: 24, Twice: 3}, "0 were not delivered to, 3 more than once, and 0"},
		"delivered three times": {func(c []chatapitest.Call) []chatapitest.Call { return append(c, c[3], c[3]) },
			tallied{Delivered: 24, Twice: 3}, "0 were not delivered to, 3 more than once, and 0"},
		"twice in a call": {func(c []chatapitest.Call) []chatapitest.Call {
			c[3].Recipients[1] = c[3].Recipients[0]
			return c
		}, tallied{Delivered: 23, Twice: 1}, "1 were not delivered to, 1 more than once, and 0"},
		"another's message": {func(c []chatapitest.Call) []chatapitest.Call {
			c[0].Message = c[2].Message
			return c
		}, tallied{Delivered: 24, Wrong: 3}, "0 were not delivered to, 0 more than once, and 3"},
		"another project": {func(c []chatapitest.Call) []chatapitest.Call {
			c[0].ProjectID = c[1].ProjectID
			return c
		}, tallied{Delivered: 24, Wrong: 3}, "and 3 deliveries were not asked for"},
		"a foreign project": {func(c []chatapitest.Call) []chatapitest.Call {
			c[0].ProjectID = "0f8fad5b-d9cb-469f-a165-70867728950e"
			return c
		}, tallied{Delivered: 21, Wrong: 3}, "3 were not delivered to, 0 more than once, and 3"},
		"a foreign message": {func(c []chatapitest.Call) []chatapitest.Call {
			c[0].Message = "hello"
			return c
		}, tallied{Delivered: 21, Wrong: 3}, "and 3"},
		"nobody's ids": {func(c []chatapitest.Call) []chatapitest.Call {
			c[0].Recipients = append(c[0].Recipients, "w-24", "w-", "w--1", "x-1", "w-1x", "", "1", "w-99999999999999999999")
			return c
		}, tallied{Delivered: 24, Wrong: 8}, "and 8"},
	} {
		t.Run(name, func(t *testing.T) {
			var calls []chatapitest.Call
			for n := range w.Jobs {
				calls = append(calls, benchCall(w, n))
			}
			tally := newTally(w)
			var group sync.WaitGroup
			for _, call := range c.change(calls) {
				group.Go(func() { tally.call(call) }) // as they come
			}
			group.Wait()
			records := httptest.NewServer(tally.records(chatapitest.New(chatapitest.Config{})))
			defer records.Close()
			var got tallied
			if err := ask(t.Context(), records.URL+"/tally", &got); err != nil {
				t.Fatal(err)
			}
			if got.Latency = 0; got != c.want {
				t.Errorf("tallied %+v, want %+v", got, c.want)
			}
			m := measurement{workload: w, at: apiReady{Records: records.URL + "/"}, acked: make([]int64, 24)}
			run := Run{Recipients: 24}
			switch err := m.account(t.Context(), &run); {
			case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("accounted with %v, want %q", err, c.err)
			case c.err == "" && (run.Way == nil || *run.Way != Latency{P50: 4.5, P99: 8, Max: 8}):
				t.Errorf("they were delivered %+v ms after they were stored", run.Way)
			}
		})
	}
}

func TestBenchQuantiles(t *testing.T) {
	for _, c := range []struct {
		sorted []float64
		q      float64
		want   float64
	}{
		{[]float64{7}, 0, 7}, {[]float64{7}, .5, 7}, {[]float64{7}, 1, 7},
		{[]float64{1, 2}, .5, 1.5}, {[]float64{1, 2, 4}, .5, 2}, {[]float64{1, 2, 4, 8}, .5, 3},
		{[]float64{1, 2, 4, 8}, 0, 1}, {[]float64{1, 2, 4, 8}, 1, 8}, {[]float64{0, 100}, .99, 99},
	} {
		if got := quantile(c.sorted, c.q); got != c.want {
			t.Errorf("quantile %v of %v is %v, want %v", c.q, c.sorted, got, c.want)
		}
	}
	if s := SpreadOf(nil); s != nil {
		t.Errorf("the spread of nothing is %v", s)
	}
	figures := []float64{5, 1, 3}
	if s := SpreadOf(figures); *s != (Spread{Median: 3, Min: 1, Max: 5}) || !slices.Equal(figures, []float64{5, 1, 3}) {
		t.Errorf("the spread of 5, 1, 3 is %v, which are now %v", s, figures)
	}
	if s := SpreadOf([]float64{2}); *s != (Spread{2, 2, 2}) || s.String() != "2.00 (2.00 to 2.00)" {
		t.Errorf("the spread of 2 is %v", s)
	}
}

// Each run of the worker is compared with the bare loop's of the same pair.
func TestBenchSummary(t *testing.T) {
	run := func(program string, pair int, rate, cpu float64) Run {
		return Run{Program: program, Pair: pair, JobsRate: rate, WorkerCPU: cpu, IdealCalls: 1000, Seconds: 10 / float64(pair)}
	}
	runs := []Run{
		run(ProgramBare, 1, 100, 2), run(ProgramWorker, 1, 50, 3), run(ProgramWorker, 2, 150, 4), run(ProgramBare, 2, 200, 2),
		run(ProgramBare, 3, 100, 0), run(ProgramWorker, 3, 300, 1),
	}
	flags := Config{Concurrency: 5, Replicas: 2}
	text := func(s *Spread) string {
		if s == nil {
			return "none"
		}
		return s.String()
	}
	for name, c := range map[string]struct {
		w    Workload
		runs []Run
		want string // ratio, CPU ratio, latency ratio
	}{
		"of both":             {Workload{}, runs, "0.75 (0.50 to 3.00) | 1.75 (1.50 to 2.00) | none"},
		"published the while": {Workload{Rate: 10}, runs, "none | 1.75 (1.50 to 2.00) | none"},
		"with a latency":      {Workload{Latency: 50 * time.Millisecond}, runs, "0.75 (0.50 to 3.00) | 1.75 (1.50 to 2.00) | 1.00 (0.50 to 1.50)"},
		"of the worker":       {Workload{Latency: 50 * time.Millisecond}, runs[1:3], "none | none | 0.75 (0.50 to 1.00)"},
	} {
		c.w.Name = name
		s := summarize(c.w, flags, c.runs)
		got := fmt.Sprintf("%s | %s | %s", text(s.Ratio), text(s.CPURatio), text(s.LatencyRatio))
		if got != c.want || s.Workload != name {
			t.Errorf("%s: summary %s of %s, want %s", name, got, s.Workload, c.want)
		}
	}
}
