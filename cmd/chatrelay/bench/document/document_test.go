package document

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
)

// made is a run of a workload at a rate, as bench prints it.
func made(w bench.Workload, program string, pair int, rate float64) *bench.Run {
	r := &bench.Run{
		Workload: w.Name, Program: program, Pair: pair, Replicas: 1, Jobs: w.Jobs, Recipients: w.Jobs * w.Recipients, Projects: w.Projects,
		Concurrency: 64, LingerMS: 20, LatencyMS: bench.InMS(w.Latency), PublishRate: w.Rate, Seconds: float64(w.Jobs) / rate, JobsRate: rate,
		Calls: w.Ideal(), IdealCalls: w.Ideal(), WorkerCPU: 2, BrokerCPU: 1, APICPU: 1, PeakMemory: 90e6,
	}
	if w.Timed {
		r.Way = &bench.Latency{P50: 21, P99: 30, Max: 40}
	}
	return r
}

// page writes a page without sections' text, and its records, and returns their path.
func page(t *testing.T, lines ...bench.Record) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "performance")
	var text, records bytes.Buffer
	text.WriteString("# By hand\n")
	for _, s := range sections {
		text.WriteString("<!-- begin " + s.name + " -->\nold\n<!-- end " + s.name + " -->\nby hand, too\n")
	}
	for _, l := range lines {
		if err := json.NewEncoder(&records).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range map[string][]byte{path + ".md": text.Bytes(), path + ".jsonl": records.Bytes()} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// complete are records for every section.
func complete() []bench.Record {
	lines := []bench.Record{{Machine: &bench.Machine{Time: "2026-11-23T10:00:00Z", CPU: "A processor", Cores: 2, Command: []string{"chatrelay", "bench", "W1"}}}}
	add := func(w bench.Workload, worker, bare float64) {
		for pair := range 2 {
			lines = append(lines, bench.Record{Run: made(w, bench.ProgramBare, pair+1, bare)}, bench.Record{Run: made(w, bench.ProgramWorker, pair+1, worker+float64(pair))})
		}
	}
	for _, w := range bench.Workloads() {
		add(w, 800, 1000)
	}
	other := bench.Named("W1")
	other.Jobs = 1_000_000
	add(other, 850, 1000)
	other = bench.Named("W1")
	other.Projects = 100
	add(other, 700, 1000)
	slow := bench.Named("W2")
	slow.Latency = 50 * time.Millisecond
	two := made(slow, bench.ProgramWorker, 1, 1600)
	two.Replicas = 2
	paced := made(bench.Named("W1"), bench.ProgramWorker, 1, 2000)
	paced.PublishRate, paced.Memory = 2000, []uint64{50e6, 60e6, 70e6}
	return append(lines, bench.Record{Run: made(slow, bench.ProgramWorker, 1, 1000)}, bench.Record{Run: two}, bench.Record{Run: paced}, bench.Record{Summary: &bench.Summary{Workload: "W1"}})
}

func TestWhatIsWrittenIsUpToDate(t *testing.T) {
	path := page(t, complete()...)
	if err := Check(path); err == nil || !strings.Contains(err.Error(), "performance.md is not what") {
		t.Errorf("before: %v", err)
	}
	if err := Write(path); err != nil {
		t.Fatal(err)
	}
	if err := Check(path); err != nil {
		t.Errorf("after: %v", err)
	}
	text, err := os.ReadFile(path + ".md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# By hand\n", "by hand, too\n", "| processor | A processor |", "chatrelay bench W1",
		"| W1 | 0.800 (0.800 to 0.801) |", "rate ≥ 0.80, calls ≤ 1.2 × ideal | yes |", // of pairs
		"| W2 | 0.800 (0.800 to 0.801) |", "| **no**, yes |", // too slow is said
		"-12.5 % with 100", "![W1: jobs/s", "| 1.60 |", // two replicas by one
		"| +20.0 |", // memory
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(string(text), "old\n") {
		t.Error("old text is left between markers")
	}
	for _, name := range []string{path + "-jobs.svg", path + ".md"} {
		was, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, bytes.Replace(was, []byte("jobs/s"), []byte("job/s"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Check(path); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s was changed by hand: %v", name, err)
		}
		if err := os.WriteFile(name, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLackingRecordsAreNamed(t *testing.T) {
	path := page(t)
	if err := Write(path); err != nil {
		t.Fatal(err)
	}
	err := Check(path)
	for _, s := range sections {
		if err == nil || !strings.Contains(err.Error(), "for the section "+s.name+": ") {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

func TestRecordsThatCannotBeCompared(t *testing.T) {
	machine := bench.Record{Machine: &bench.Machine{}}
	elsewhere := made(bench.Named("W1"), bench.ProgramWorker, 1, 1)
	elsewhere.BrokerCPU = 0
	for want, lines := range map[string][]bench.Record{
		"a run stands before the machine": {{Run: made(bench.Named("W1"), bench.ProgramWorker, 1, 1)}},
		"a run without CPU seconds":       {machine, {Run: elsewhere}},
	} {
		if err := Check(page(t, lines...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	path := page(t, complete()...)
	if err := os.WriteFile(path+".md", []byte("no markers"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path); err == nil || !strings.Contains(err.Error(), "begin machine") {
		t.Errorf("a page without markers: %v", err)
	}
}

func TestFigures(t *testing.T) {
	for want, f := range map[string]float64{"12,346": 12345.6, "0.988": 0.9876, "12.3": 12.34, "123": 123.4} {
		if got := amount(f); got != want {
			t.Errorf("%v is %s, want %s", f, got, want)
		}
	}
	for most, want := range map[float64]float64{6: 1, 7: 2, 30: 5, 31: 10, 70_000: 20_000} {
		if got := tickStep(most); got != want {
			t.Errorf("up to %v the ticks are %v, want %v", most, got, want)
		}
	}
}
