package document

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
)

// scaling shows W1 with other numbers of something.
func (s *section) scaling(of string, a axis, runs pool) {
	base := standard("W1")
	runs = runs.like(base, a)
	usual := runs.like(base).by(bench.ProgramWorker).spread(jobsRate)
	if usual == nil || len(runs.setups()) < 2 {
		s.lacks("W1 with %s %s, and with others", count(base.is[a]), of)
		return
	}
	s.head(of, "rate by the bare loop's", "bare loop's runs", "jobs/s", "worker's runs", "jobs/s", "calls by ideal", "peak MB")
	var x []float64
	var bare, worker []*bench.Spread
	var differences []string
	for _, set := range runs.setups() {
		value, runs := set.is[a], runs.like(set)
		loops, workers := runs.by(bench.ProgramBare), runs.by(bench.ProgramWorker)
		if len(loops) == 0 || len(workers) == 0 {
			s.lacks("both programs with %s %s", count(value), of)
			continue
		}
		x, bare, worker = append(x, value), append(bare, loops.spread(jobsRate)), append(worker, workers.spread(jobsRate))
		s.row([]string{count(value), cell(runs.paired(jobsRate))}, loops.cells(jobsRate), workers.cells(jobsRate, ofIdeal, peakMB))
		if set != base {
			differences = append(differences, fmt.Sprintf("%+.1f %% with %s", 100*(workers.spread(jobsRate).Median/usual.Median-1), count(value)))
		}
	}
	if len(x) < 2 {
		return
	}
	fmt.Fprintf(s, "\nThe worker's median rate lies this far from the one with %s %s: %s.\n", count(base.is[a]), of, strings.Join(differences, ", "))
	fmt.Fprintf(s, "\n![W1: jobs/s of both programs by the number of %s](performance-%s.svg)\n", of, of)
	s.plot = draw("W1: jobs/s by the number of "+of+" (median, least and most)", of+" (logarithmic)", x,
		series{bench.ProgramBare, "#d95f02", "6 4", bare}, series{bench.ProgramWorker, "#1f6fb4", "none", worker})
}

func writeReplicas(s *section, all records) {
	runs := all.runs.only(func(r recorded) bool { return r.LatencyMS == 50 && r.PublishRate == 0 })
	if len(runs.only(func(r recorded) bool { return r.Replicas > 1 })) == 0 {
		s.lacks("several replicas with a latency of 50 ms")
	}
	ofLimit := func(r recorded) float64 { return callsRate(r) / limit(r) }
	s.head(slices.Concat(setupHead, []string{"runs", "jobs/s", "calls/s", "calls/s by the latency's limit", "calls by ideal", "rate by one replica's"})...)
	runs.each(func(set setup, program string, group pool) {
		speedUp := "–"
		if one := runs.like(set.at(replicasAxis, 1)).by(program).spread(jobsRate); one != nil {
			speedUp = amount(group.spread(jobsRate).Median / one.Median)
		}
		s.row(set.cells(program), group.cells(jobsRate, callsRate, ofLimit, ofIdeal), []string{speedUp})
	})
}

func writeMemory(s *section, all records) {
	long := all.runs.only(func(r recorded) bool { return r.Jobs >= 1_000_000 && r.PublishRate == 0 })
	// Thirds of fewer samples than three overlap; a run of L lasts for one at most.
	paced := all.runs.only(func(r recorded) bool { return len(r.Memory) >= 3 && r.Way == nil })
	if len(long) == 0 {
		s.lacks("1,000,000 jobs at once")
	}
	if len(paced) == 0 {
		s.lacks("paced jobs for half a minute or more")
	}
	s.head(slices.Concat(setupHead, []string{"runs", "peak MB", "target", "met"})...)
	long.each(func(set setup, program string, runs pool) {
		verdict := []string{"", ""}
		if program == bench.ProgramWorker {
			verdict = judge(demand{"every peak < 150 MB", runs.spread(peakMB).Max < 150})
		}
		s.row(set.cells(program), runs.cells(peakMB), verdict)
	})
	s.head(slices.Concat(setupHead, []string{"lasted", "jobs/s", "first third MB", "last third MB", "difference MB", "peak of a replica MB"})...)
	for _, r := range paced {
		third := len(r.Memory) / 3
		first, last := meanMB(r.Memory[:third]), meanMB(r.Memory[len(r.Memory)-third:])
		lasted := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
		s.row(r.setup.cells(r.Program), []string{lasted.String(), amount(r.JobsRate), amount(first), amount(last), fmt.Sprintf("%+.1f", last-first), amount(peakMB(r))})
	}
}

func meanMB(samples []uint64) float64 {
	sum := 0.0
	for _, bytes := range samples {
		sum += float64(bytes) / 1e6
	}
	return sum / float64(len(samples))
}
