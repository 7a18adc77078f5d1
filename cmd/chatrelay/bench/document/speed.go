package document

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
)

func writeMachine(s *section, all records) {
	if len(all.machines) == 0 {
		s.lacks("any command")
		return
	}
	distinct := func(of func(bench.Machine) string) []string {
		var seen []string
		for _, m := range all.machines {
			if text := of(m); !slices.Contains(seen, text) {
				seen = append(seen, text)
			}
		}
		return seen
	}
	row := func(name string, of func(bench.Machine) string) {
		s.row([]string{name, strings.Join(distinct(of), "; ")})
	}
	s.head("", "")
	row("processor", func(m bench.Machine) string { return m.CPU })
	row("cores", func(m bench.Machine) string { return fmt.Sprint(m.Cores) })
	row("system", func(m bench.Machine) string { return m.System })
	row("Go", func(m bench.Machine) string { return m.Go })
	row("nats-server", func(m bench.Machine) string { return m.NATS })
	row("measured on", func(m bench.Machine) string { return m.Time[:min(10, len(m.Time))] })
	s.WriteString("\n```sh\n" + strings.Join(distinct(func(m bench.Machine) string {
		return "chatrelay " + strings.Join(m.Command[min(1, len(m.Command)):], " ")
	}), "\n") + "\n```\n")
}

func writeWorkloads(s *section, all records) {
	names := []string{"W1", "W2", "W3", "W4"}
	usual := all.runs.only(func(r recorded) bool { return slices.Contains(names, r.Workload) && r.setup == standard(r.Workload) })
	s.head("workload", "program", "runs", "jobs/s", "recipients/s", "calls by ideal", "worker CPU s", "broker CPU s", "API CPU s", "peak MB")
	usual.each(func(set setup, program string, runs pool) {
		s.row([]string{set.workload, program}, runs.cells(jobsRate, recipientsRate, ofIdeal, workerCPU, brokerCPU, apiCPU, peakMB))
	})
	s.head("workload", "rate by the bare loop's", "CPU per job by the bare loop's", "rate by the latency's limit", "target", "met")
	for _, name := range names {
		runs := usual.like(standard(name))
		workers, rate, cpu := runs.by(bench.ProgramWorker), runs.paired(jobsRate), runs.paired(workerCPU)
		if rate == nil {
			s.lacks("pairs of %s at its standard size", name)
			continue
		}
		var ofLimit *bench.Spread
		var demands []demand
		switch name {
		case "W1":
			demands = []demand{{"rate ≥ 0.80", rate.Median >= 0.80}, {"calls ≤ 1.2 × ideal", workers.spread(ofIdeal).Median <= 1.2}}
		case "W2":
			demands = []demand{{"rate ≥ 0.90", rate.Median >= 0.90}, {"CPU ≤ 1.3", cpu.Median <= 1.3}}
		case "W3":
			demands = []demand{{"rate ≥ 0.60", rate.Median >= 0.60}}
		case "W4": // by ideal calls: those that were made again are nothing to boast of
			ofLimit = workers.spread(func(r recorded) float64 { return float64(r.IdealCalls) / r.Seconds / limit(r) })
			demands = []demand{{"rate ≥ 0.97 of the limit", ofLimit.Median >= 0.97}}
		}
		s.row([]string{name, cell(rate), cell(cpu), cell(ofLimit)}, judge(demands...))
	}
}

func writeLatency(s *section, all records) {
	runs := all.runs.like(standard("L"), lingerAxis, jobsAxis)
	if len(runs.by(bench.ProgramWorker)) == 0 {
		s.lacks("L by the worker")
	}
	p50, p99 := func(r recorded) float64 { return r.Way.P50 }, func(r recorded) float64 { return r.Way.P99 }
	s.head("jobs", "linger ms", "program", "runs", "p50 ms", "p99 ms", "max ms", "target", "met")
	runs.each(func(set setup, program string, runs pool) {
		verdict := []string{"", ""}
		if program == bench.ProgramWorker {
			half, most, linger := runs.spread(p50).Median, runs.spread(p99).Median, set.is[lingerAxis]
			first := demand{fmt.Sprintf("p50 ≤ %v ms", linger+2), half <= linger+2}
			if linger == 0 {
				first = demand{"p50 < 2 ms", half < 2}
			}
			verdict = judge(first, demand{fmt.Sprintf("p99 ≤ %v ms", linger+15), most <= linger+15})
		}
		cells := runs.cells(p50, p99, func(r recorded) float64 { return r.Way.Max })
		s.row([]string{count(set.is[jobsAxis]), fmt.Sprint(set.is[lingerAxis]), program}, cells, verdict)
	})
}
