package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// benchReport prints what was measured: a table for each workload, or lines of JSON.
type benchReport struct {
	app   *app
	flags benchFlags
}

func newBenchReport(a *app, f benchFlags) *benchReport { return &benchReport{a, f} }

// benchRecord is one line of JSON.
type benchRecord struct {
	Machine *benchMachine `json:"machine,omitempty"`
	Run     *benchRun     `json:"run,omitempty"`
	Summary *benchSummary `json:"summary,omitempty"`
}

// benchMachine says where and with what was measured.
type benchMachine struct {
	Time    string   `json:"time"`
	CPU     string   `json:"cpu"`
	Cores   int      `json:"cores"`
	System  string   `json:"system"`
	Go      string   `json:"go"`
	NATS    string   `json:"nats_server"`
	Version string   `json:"chatrelay"`
	Command []string `json:"command"`
}

// benchRun is what one run of one program came to.
type benchRun struct {
	Workload   string `json:"workload"`
	Program    string `json:"program"`
	Pair       int    `json:"pair"`
	Replicas   int    `json:"replicas"`
	Jobs       int    `json:"jobs"`
	Recipients int    `json:"recipients"`
	Projects   int    `json:"projects"`
	// How it was set up: calls under way of each replica, the wait for company, what the API takes
	// for an answer, and the jobs a second that were published meanwhile, 0 where all were before.
	Concurrency int     `json:"concurrency"`
	LingerMS    float64 `json:"linger_ms"`
	LatencyMS   float64 `json:"latency_ms"`
	PublishRate float64 `json:"published_per_second"`
	Start       float64 `json:"start_seconds"` // until it was given its first job
	Seconds     float64 `json:"seconds"`       // from then to the empty stream
	JobsRate    float64 `json:"jobs_per_second"`
	Calls       int     `json:"calls"`
	IdealCalls  int     `json:"ideal_calls"`
	MaxFlight   int     `json:"max_calls_in_flight"`
	APILatency  float64 `json:"api_latency_ms"` // measured, from a call's arrival to its reply, on average
	// CPU seconds from the start of the program to the empty stream; zero where they cannot be
	// had.
	WorkerCPU float64 `json:"worker_cpu_seconds"`
	BrokerCPU float64 `json:"broker_cpu_seconds"`
	APICPU    float64 `json:"api_cpu_seconds"`
	// PeakMemory is the largest resident set of a replica, in bytes.
	PeakMemory uint64        `json:"peak_memory_bytes"`
	Way        *benchLatency `json:"puback_to_api_ms,omitempty"`
	// Memory is the resident set of all replicas, in bytes, every ten seconds.
	Memory []uint64 `json:"memory_bytes,omitempty"`
}

// benchLatency is how long jobs took from their PubAck to the API, in milliseconds.
type benchLatency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// spread is the median of some figures with the least and the most.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf is nil where there are no figures.
func spreadOf(figures []float64) *spread {
	if len(figures) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(figures))
	return &spread{quantile(sorted, .5), sorted[0], sorted[len(sorted)-1]}
}

// quantile of what is sorted, between neighbours where it falls between them.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// benchSummary compares the two programs over all pairs.
type benchSummary struct {
	Workload string `json:"workload"`
	// Ratio of the worker's rate to the bare loop's, and CPURatio of its CPU seconds, of each pair.
	Ratio    *spread `json:"ratio,omitempty"`
	CPURatio *spread `json:"cpu_ratio,omitempty"`
	// LatencyRatio is the worker's rate by what the API's latency allows.
	LatencyRatio *spread `json:"latency_ratio,omitempty"`
}

func (r *benchReport) begin() error {
	m := benchMachine{
		Time: time.Now().UTC().Format(time.RFC3339), CPU: cpuModel(), Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), NATS: broker.Version, Version: version(), Command: append([]string{"chatrelay"}, os.Args[1:]...),
	}
	if r.app.output == "json" {
		return term.PrintJSON(r.app.stdout, benchRecord{Machine: &m})
	}
	_, err := fmt.Fprintf(r.app.stdout, "%s, %s, %s, %s, nats-server %s\n", m.CPU, term.Counted(m.Cores, "core"), m.System, m.Go, m.NATS)
	return err
}

// cpuModel names the processor, where that can be had.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// workload prints one workload's runs.
func (r *benchReport) workload(w workload, runs []benchRun) error {
	sum := summarize(w, r.flags, runs)
	if r.app.output == "json" {
		for i := range runs {
			if err := term.PrintJSON(r.app.stdout, benchRecord{Run: &runs[i]}); err != nil {
				return err
			}
		}
		return term.PrintJSON(r.app.stdout, benchRecord{Summary: &sum})
	}
	out := tabwriter.NewWriter(r.app.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\n%s: %s\n", w.name, w.shows)
	fmt.Fprintln(out, "\tjobs/s\trecipients/s\tcalls\tof ideal\tworker CPU s\tbroker\tAPI\tpeak MB\tstart ms\tp50 ms\tp99 ms\t")
	for _, program := range r.flags.programs() {
		of := func(figure func(benchRun) float64) string {
			var figures []float64
			for _, run := range runs {
				if run.Program == program {
					figures = append(figures, figure(run))
				}
			}
			return short(spreadOf(figures).Median)
		}
		p50, p99 := "", ""
		if w.timed {
			p50, p99 = of(func(b benchRun) float64 { return b.Way.P50 }), of(func(b benchRun) float64 { return b.Way.P99 })
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", program,
			of(func(b benchRun) float64 { return b.JobsRate }), of(func(b benchRun) float64 { return float64(b.Recipients) / b.Seconds }),
			of(func(b benchRun) float64 { return float64(b.Calls) }), of(func(b benchRun) float64 { return float64(b.Calls) / float64(b.IdealCalls) }),
			of(func(b benchRun) float64 { return b.WorkerCPU }), of(func(b benchRun) float64 { return b.BrokerCPU }), of(func(b benchRun) float64 { return b.APICPU }),
			of(func(b benchRun) float64 { return float64(b.PeakMemory) / 1e6 }), of(func(b benchRun) float64 { return b.Start * 1000 }), p50, p99)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	line := "every recipient told once"
	if sum.Ratio != nil {
		line = fmt.Sprintf("%s times the bare loop's rate, %s times its CPU; %s", sum.Ratio, sum.CPURatio, line)
	}
	if sum.LatencyRatio != nil {
		line = fmt.Sprintf("%s of what the latency allows; %s", sum.LatencyRatio, line)
	}
	_, err := fmt.Fprintln(r.app.stdout, line)
	return err
}

func summarize(w workload, f benchFlags, runs []benchRun) benchSummary {
	var rates, cpus, latencies []float64
	for _, worker := range runs {
		if worker.Program == programBare {
			continue
		}
		for _, bare := range runs {
			if bare.Program == programBare && bare.Pair == worker.Pair {
				if w.rate == 0 {
					rates = append(rates, worker.JobsRate/bare.JobsRate)
				}
				if bare.WorkerCPU > 0 {
					cpus = append(cpus, worker.WorkerCPU/bare.WorkerCPU)
				}
			}
		}
		if w.latency > 0 {
			atMost := float64(f.concurrency*f.replicas) / w.latency.Seconds()
			latencies = append(latencies, float64(worker.IdealCalls)/worker.Seconds/atMost)
		}
	}
	return benchSummary{Workload: w.name, Ratio: spreadOf(rates), CPURatio: spreadOf(cpus), LatencyRatio: spreadOf(latencies)}
}

// String shows the median and the range.
func (s *spread) String() string { return fmt.Sprintf("%.2f (%.2f to %.2f)", s.Median, s.Min, s.Max) }

// short is a figure with three digits that matter.
func short(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.2f", f)
}
