package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// report prints what was measured: a table for each workload, or lines of JSON.
type report struct{ cfg Config }

func (r report) begin() error {
	m := Machine{
		Time: time.Now().UTC().Format(time.RFC3339), CPU: cpuModel(), Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), NATS: broker.Version, Version: r.cfg.Version, Command: r.cfg.Command,
	}
	if r.cfg.JSON {
		return term.PrintJSON(r.cfg.Out, Record{Machine: &m})
	}
	_, err := fmt.Fprintf(r.cfg.Out, "%s, %s, %s, %s, nats-server %s\n", m.CPU, term.Counted(m.Cores, "core"), m.System, m.Go, m.NATS)
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
func (r report) workload(w Workload, runs []Run) error {
	sum := summarize(w, r.cfg, runs)
	if r.cfg.JSON {
		for i := range runs {
			if err := term.PrintJSON(r.cfg.Out, Record{Run: &runs[i]}); err != nil {
				return err
			}
		}
		return term.PrintJSON(r.cfg.Out, Record{Summary: &sum})
	}
	out := tabwriter.NewWriter(r.cfg.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\n%s: %s\n", w.Name, w.Shows)
	fmt.Fprintln(out, "\tjobs/s\trecipients/s\tcalls\tof ideal\tworker CPU s\tbroker\tAPI\tpeak MB\tstart ms\tp50 ms\tp99 ms\t")
	for _, program := range r.cfg.programs() {
		of := func(figure func(Run) float64) string {
			var figures []float64
			for _, run := range runs {
				if run.Program == program {
					figures = append(figures, figure(run))
				}
			}
			return Short(SpreadOf(figures).Median)
		}
		p50, p99 := "", ""
		if w.Timed {
			p50, p99 = of(func(b Run) float64 { return b.Way.P50 }), of(func(b Run) float64 { return b.Way.P99 })
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", program,
			of(func(b Run) float64 { return b.JobsRate }), of(func(b Run) float64 { return float64(b.Recipients) / b.Seconds }),
			of(func(b Run) float64 { return float64(b.Calls) }), of(func(b Run) float64 { return float64(b.Calls) / float64(b.IdealCalls) }),
			of(func(b Run) float64 { return b.WorkerCPU }), of(func(b Run) float64 { return b.BrokerCPU }), of(func(b Run) float64 { return b.APICPU }),
			of(func(b Run) float64 { return float64(b.PeakMemory) / 1e6 }), of(func(b Run) float64 { return b.Start * 1000 }), p50, p99)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	line := "delivered once to every recipient"
	if sum.Ratio != nil {
		line = fmt.Sprintf("%s times the bare loop's rate, %s times its CPU; %s", sum.Ratio, sum.CPURatio, line)
	}
	if sum.LatencyRatio != nil {
		line = fmt.Sprintf("%s of what the latency allows; %s", sum.LatencyRatio, line)
	}
	_, err := fmt.Fprintln(r.cfg.Out, line)
	return err
}

func summarize(w Workload, cfg Config, runs []Run) Summary {
	var rates, cpus, latencies []float64
	for _, worker := range runs {
		if worker.Program == ProgramBare {
			continue
		}
		for _, bare := range runs {
			if bare.Program == ProgramBare && bare.Pair == worker.Pair {
				if w.Rate == 0 {
					rates = append(rates, worker.JobsRate/bare.JobsRate)
				}
				if bare.WorkerCPU > 0 {
					cpus = append(cpus, worker.WorkerCPU/bare.WorkerCPU)
				}
			}
		}
		if w.Latency > 0 {
			atMost := float64(cfg.Concurrency*cfg.Replicas) / w.Latency.Seconds()
			latencies = append(latencies, float64(worker.IdealCalls)/worker.Seconds/atMost)
		}
	}
	return Summary{Workload: w.Name, Ratio: SpreadOf(rates), CPURatio: SpreadOf(cpus), LatencyRatio: SpreadOf(latencies)}
}
