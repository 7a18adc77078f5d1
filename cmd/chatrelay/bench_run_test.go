package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// benchProgram is the real program about to measure, and the directory in which it may leave nothing. Only
// the program itself is under the race detector, not the processes that it starts.
func benchProgram(t *testing.T, args ...string) (cmd *exec.Cmd, temp string) {
	t.Helper()
	temp = t.TempDir()
	cmd = exec.CommandContext(t.Context(), "chatrelay", append([]string{"bench"}, args...)...)
	plain, err := plainDir()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "PATH="+plain+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return cmd, temp
}

// runBench runs it to its end.
func runBench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd, temp := benchProgram(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	leftNothing(t, temp)
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func leftNothing(t *testing.T, temp string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("the measurement left %v (%v)", left, err)
	}
}

// benchRecords demands success, and reads all lines.
func benchRecords(t *testing.T, args ...string) (runs []bench.Run, sums []bench.Summary) {
	t.Helper()
	code, stdout, stderr := runBench(t, append(args, "--output", "json")...)
	if code != 0 || stderr != "" {
		t.Fatalf("bench %v ends with %d and says %q", args, code, stderr)
	}
	lines := json.NewDecoder(strings.NewReader(stdout))
	lines.DisallowUnknownFields()
	for n := 0; ; n++ {
		var r bench.Record
		if err := lines.Decode(&r); errors.Is(err, io.EOF) {
			return runs, sums
		} else if err != nil {
			t.Fatalf("bench %v: record %d: %v\n%s", args, n, err, stdout)
		}
		if (n == 0) != (r.Machine != nil) || r.Machine != nil && (r.Machine.Cores < 1 || r.Machine.NATS != broker.Version || !slices.Contains(r.Machine.Command, args[0])) || strings.Contains(stdout, "hush") {
			t.Errorf("bench %v: record %d says of the machine %+v", args, n, r.Machine)
		}
		if r.Run != nil {
			runs = append(runs, *r.Run)
		}
		if r.Summary != nil {
			sums = append(sums, *r.Summary)
		}
	}
}

// benchWorkload is one of the workloads, with fewer jobs.
func benchWorkload(name string, jobs int) bench.Workload {
	w := bench.Named(name)
	w.Jobs = jobs
	return w
}

// plausible checks one run's figures.
func plausible(t *testing.T, w bench.Workload, r bench.Run) {
	t.Helper()
	most := max(w.Jobs, w.Ideal()) // calls, if none were put together
	if r.Program == bench.ProgramBare && w.Rate == 0 {
		most = 2 * w.Ideal() // it merges all that is there
	}
	if r.Workload != w.Name || r.Jobs != w.Jobs || r.Recipients != w.Jobs*w.Recipients || r.Projects != w.Projects || r.IdealCalls != w.Ideal() ||
		r.PublishRate != w.Rate || r.LatencyMS != bench.InMS(w.Latency) || r.Concurrency != 64 || r.LingerMS != 20 {
		t.Errorf("%s, %s: set up as %+v", w.Name, r.Program, r)
	}
	if r.Calls < r.IdealCalls || r.Calls > most || r.MaxFlight < 1 || r.MaxFlight > r.Concurrency*r.Replicas {
		t.Errorf("%s, %s: %d calls of ideally %d, at most %d; %d at once", w.Name, r.Program, r.Calls, r.IdealCalls, most, r.MaxFlight)
	}
	if r.Start <= 0 || r.Seconds <= 0 || math.Abs(r.JobsRate*r.Seconds-float64(r.Jobs)) > 1e-3 || w.Rate > 0 && r.Seconds < float64(w.Jobs-1)/w.Rate {
		t.Errorf("%s, %s: %d jobs took %v s after %v s, %v a second", w.Name, r.Program, r.Jobs, r.Seconds, r.Start, r.JobsRate)
	}
	if r.WorkerCPU < 0 || r.BrokerCPU < 0 || r.APICPU < 0 || r.PeakMemory < 1<<20 {
		t.Errorf("%s, %s: CPU seconds %v, %v and %v, %d bytes", w.Name, r.Program, r.WorkerCPU, r.BrokerCPU, r.APICPU, r.PeakMemory)
	}
	if (r.Way != nil) != w.Timed || r.Way != nil && !(r.Way.P50 <= r.Way.P99 && r.Way.P99 <= r.Way.Max && r.Way.Max > 0 && r.Way.Max < r.Seconds*1000) {
		t.Errorf("%s, %s: the way took %+v", w.Name, r.Program, r.Way)
	}
}

func TestBenchMeasures(t *testing.T) {
	t.Parallel()
	const jobs = 300
	want := map[string]int{"W1": 50, "W2": jobs, "L": jobs} // calls
	cpu := 0.0
	for _, names := range [][]string{{"W1", "W2"}, {"W3", "--jobs", "2"}, {"L", "--rate", "300"}} {
		runs, sums := benchRecords(t, append([]string{"--jobs", fmt.Sprint(jobs), "--pairs", "1"}, names...)...)
		for i, sum := range sums {
			w := benchWorkload(sum.Workload, jobs)
			switch {
			case w.Name != names[i]:
				t.Fatalf("measured %v for %v", sums, names)
			case w.Name == "W3":
				w.Jobs = 2
			case w.Name == "L":
				w.Rate = 300
			}
			if n := want[w.Name]; n > 0 && w.Ideal() != n {
				t.Errorf("%s: ideally %d calls, want %d", w.Name, w.Ideal(), n)
			}
			bare, worker := runs[2*i], runs[2*i+1]
			if bare.Program != bench.ProgramBare || worker.Program != bench.ProgramWorker || bare.Pair != 1 || worker.Pair != 1 || bare.Replicas != 1 || worker.Replicas != 1 {
				t.Errorf("%s: ran %+v and %+v", w.Name, bare, worker)
			}
			plausible(t, w, bare)
			plausible(t, w, worker)
			cpu += min(bare.WorkerCPU, bare.BrokerCPU, bare.APICPU) + min(worker.WorkerCPU, worker.BrokerCPU, worker.APICPU)
			if (sum.Ratio == nil) != (w.Rate > 0) || sum.Ratio != nil && math.Abs(sum.Ratio.Median-worker.JobsRate/bare.JobsRate) > 1e-9 || sum.LatencyRatio != nil {
				t.Errorf("%s: %v and %v jobs a second, compared %+v", w.Name, worker.JobsRate, bare.JobsRate, sum)
			}
		}
		if len(sums) == 0 || len(runs) != 2*len(sums) {
			t.Errorf("for %v there are %d runs and %d summaries", names, len(runs), len(sums))
		}
	}
	if cpu <= 0 { // it is measured in hundredths of a second, so a short run may have none
		t.Error("in no run did all parts need the processor")
	}
	runs, sums := benchRecords(t, "W1", "--jobs", fmt.Sprint(jobs), "--pairs", "2", "--replicas", "2", "--bare=false")
	if len(runs) != 2 || runs[0].Replicas != 2 || runs[0].Pair != 1 || runs[1].Pair != 2 || len(sums) != 1 || sums[0].Ratio != nil {
		t.Errorf("two replicas alone: %+v, %+v", runs, sums)
	}
	for _, r := range runs {
		plausible(t, benchWorkload("W1", jobs), r)
	}
	code, stdout, stderr := runBench(t, "W4", "--jobs", "100", "--latency", "5ms", "--pairs", "1")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "W4: waiting well") || !strings.Contains(stdout, "of what the latency allows") || !strings.Contains(stdout, "delivered once to every recipient") {
		t.Errorf("in words, with %d: %s%s", code, stdout, stderr)
	}
}

func TestBenchRefusesWrongUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"W9"}, append(bench.Names(), `"W9"`)}, {[]string{"W1", "w2"}, append(bench.Names(), `"w2"`)},
		{[]string{"W1", "--pairs", "0"}, []string{"--pairs"}}, {[]string{"--replicas", "0"}, []string{"--replicas"}}, {[]string{"--jobs", "-1"}, []string{"negative"}},
	} {
		code, stdout, stderr := runBench(t, c.args...)
		for _, text := range c.says {
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, text) {
				t.Errorf("bench %v ends with %d and says %q, %q, want %d and %q", c.args, code, stdout, stderr, exitUsage, text)
			}
		}
	}
}

// A NATS that is in use is not measured with: nothing is delivered, and nothing there changes.
func TestBenchOnlyUsesAnIdleNATS(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	empty := bareSystem(t, chatapitest.Config{}, broker.Config{})
	args := []string{"W1", "--jobs", "50", "--pairs", "2", "--nats-url"}
	withLogin := func(at *system) string { return strings.Replace(at.url, "//", "//svc:hush@", 1) } // which a server without users lets pass
	refused := func(at *system, mention string, queued uint64, waiting uint64) {
		t.Helper()
		code, _, stderr := runBench(t, append(args, withLogin(at))...)
		if code != exitFailed || !strings.Contains(stderr, mention) || strings.Contains(stderr, "hush") {
			t.Errorf("bench ends with %d and says %q, want %d and %q", code, stderr, exitFailed, mention)
		}
		if at == empty {
			return
		}
		st, err := at.q.Status(t.Context(), time.Millisecond)
		if err != nil || st.Queued != queued || st.Scheduled != waiting || st.Held+int(st.Due) != 0 || at.api.Counts().Calls != 0 {
			t.Errorf("refused because of %q, it left %+v (%v); want %d queued and %d waiting", mention, st, err, queued, waiting)
		}
	}
	refused(empty, "chatrelay init", 0, 0)

	// The same jobs twice, and again: none is taken for another's.
	if runs, _ := benchRecords(t, append(args, withLogin(s))...); len(runs) != 4 || runs[0].Program != runs[3].Program || runs[1].Program != runs[2].Program {
		t.Errorf("on an idle NATS there ran %+v", runs)
	}
	w := s.worker()
	refused(s, "1 worker at work", 0, 0)
	if code := s.stop(w, sigterm); code != 0 {
		t.Errorf("the worker ended with %d", code)
	}
	if _, err := s.q.Publisher(queue.PublisherConfig{}).Publish(t.Context(), queue.Urgent, newLoad("real", 1, 1, 1, 1).jobs[0]); err != nil {
		t.Fatal(err)
	}
	refused(s, "hold jobs", 1, 0)
	jobs, err := s.q.Jobs(t.Context(), queue.JobsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := jobs.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := queue.Defer(t.Context(), []queue.Deferral{{Lease: leases[0], At: time.Now().Add(time.Hour), History: leases[0].History}}); err != nil {
		t.Fatal(err)
	}
	jobs.Close()
	refused(s, "hold jobs", 0, 1)
}
