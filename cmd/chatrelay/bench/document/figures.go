package document

import (
	"fmt"
	"math"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
)

// figure is what one run came to, in one respect.
type figure func(recorded) float64

func jobsRate(r recorded) float64       { return r.JobsRate }
func recipientsRate(r recorded) float64 { return float64(r.Recipients) / r.Seconds }
func callsRate(r recorded) float64      { return float64(r.Calls) / r.Seconds }
func ofIdeal(r recorded) float64        { return float64(r.Calls) / float64(r.IdealCalls) }
func workerCPU(r recorded) float64      { return r.WorkerCPU }
func brokerCPU(r recorded) float64      { return r.BrokerCPU }
func apiCPU(r recorded) float64         { return r.APICPU }
func peakMB(r recorded) float64         { return float64(r.PeakMemory) / 1e6 }

// limit is how many calls a second the API's latency allows.
func limit(r recorded) float64 { return float64(r.Concurrency*r.Replicas) / r.LatencyMS * 1000 }

// spread is nil where there are no runs.
func (p pool) spread(f figure) *bench.Spread {
	var all []float64
	for _, r := range p {
		all = append(all, f(r))
	}
	return bench.SpreadOf(all)
}

// paired is the worker's figure by the bare loop's, of each pair.
func (p pool) paired(f figure) *bench.Spread {
	var all []float64
	for _, worker := range p.by(bench.ProgramWorker) {
		for _, bare := range p.like(worker.setup).by(bench.ProgramBare) {
			if bare.invocation == worker.invocation && bare.Pair == worker.Pair {
				all = append(all, f(worker)/f(bare))
			}
		}
	}
	return bench.SpreadOf(all)
}

// cells say how many runs there are, and what they came to.
func (p pool) cells(list ...figure) []string {
	cells := []string{fmt.Sprint(len(p))}
	for _, f := range list {
		cells = append(cells, cell(p.spread(f)))
	}
	return cells
}

// cell is the median with the range.
func cell(s *bench.Spread) string {
	switch {
	case s == nil:
		return "–"
	case s.Min == s.Max:
		return amount(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", amount(s.Median), amount(s.Min), amount(s.Max))
}

// amount has three digits that matter, or all before the point.
func amount(f float64) string {
	switch {
	case f >= 1000:
		return count(f)
	case f < 1: // as ratios are, and two digits would hide what is short of a target
		return fmt.Sprintf("%.3f", f)
	}
	return bench.Short(f)
}

func count(f float64) string { return term.Thousands(int(math.Round(f))) }
