package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
)

var updatePerformance = flag.Bool("update-performance", false, "write the figures and plots of docs/performance.md from docs/performance.jsonl")

const (
	updateCommand   = "go test ./cmd/chatrelay -run TestPerformanceDoc -update-performance"
	performancePath = "../../docs/performance" // of the page .md, its records .jsonl, its plots -….svg
)

// performanceSections are written from the records, in this order, each between two markers.
var performanceSections = []struct {
	name  string
	write func(*section, records)
}{
	{"machine", writeMachine},
	{"workloads", writeWorkloads},
	{"latency", writeLatency},
	{"jobs", func(s *section, all records) { s.scaling("jobs", jobsAxis, all.runs) }},
	{"projects", func(s *section, all records) { s.scaling("projects", projectsAxis, all.runs) }},
	{"replicas", writeReplicas},
	{"memory", writeMemory},
}

// TestPerformanceDoc demands that docs/performance.md says what the records say, and nothing by
// hand between its markers. With -update-performance it writes them.
func TestPerformanceDoc(t *testing.T) {
	all, err := readRecords(performancePath + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(performancePath + ".md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	page, rest := "", string(doc)
	for _, part := range performanceSections {
		begin, end := "<!-- begin "+part.name+" -->\n", "<!-- end "+part.name+" -->"
		before, after, begins := strings.Cut(rest, begin)
		_, after, ends := strings.Cut(after, end)
		if !begins || !ends {
			t.Fatalf("%s.md must have %q and %q, after the sections before", performancePath, begin, end)
		}
		var s section
		part.write(&s, all)
		for _, what := range s.lacking {
			fmt.Fprintf(&s, "\nno records yet: %s\n", what)
			if !*updatePerformance {
				t.Errorf("%s.jsonl has no records for the section %s: %s", performancePath, part.name, what)
			}
		}
		if s.plot != "" {
			files[performancePath+"-"+part.name+".svg"] = s.plot
		}
		page, rest = page+before+begin+s.String()+"\n"+end, after
	}
	files[performancePath+".md"] = page + rest
	for path, text := range files {
		if *updatePerformance {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Error(err)
			}
		} else if was, err := os.ReadFile(path); err != nil || string(was) != text {
			t.Errorf("%s is not what %s.jsonl says; mend it by\n\t%s", path, performancePath, updateCommand)
		}
	}
}

// records are what invocations of bench have printed, one after another.
type records struct {
	machines []bench.Machine // one for each invocation
	runs     pool
}

// recorded is a run of one invocation, within which pairs are numbered.
type recorded struct {
	bench.Run
	setup      setup
	invocation int
}

func readRecords(path string) (all records, err error) {
	f, err := os.Open(path)
	if err != nil {
		return all, err
	}
	defer f.Close()
	lines := json.NewDecoder(f)
	lines.DisallowUnknownFields()
	for {
		var r bench.Record
		err := lines.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, fmt.Errorf("%s: %w", path, err)
		case r.Machine != nil:
			all.machines = append(all.machines, *r.Machine)
		case r.Run == nil: // a summary of one invocation: here they are taken together
		case len(all.machines) == 0:
			return all, fmt.Errorf("%s: a run stands before the machine that made it", path)
		case r.Run.BrokerCPU == 0:
			return all, fmt.Errorf("%s: a run without CPU seconds, of another NATS or system, cannot be compared", path)
		default:
			all.runs = append(all.runs, recorded{*r.Run, setupOf(*r.Run), len(all.machines)})
		}
	}
}

// setup is how a run was made. What was made alike is taken together.
type setup struct {
	workload string
	is       [axes]float64
}

// axis is what a flag of bench changes about a workload.
type axis int

const (
	concurrencyAxis axis = iota
	latencyAxis
	rateAxis
	projectsAxis
	jobsAxis
	lingerAxis
	replicasAxis
	axes
)

func setupOf(r bench.Run) setup {
	return setup{r.Workload, [axes]float64{float64(r.Concurrency), r.LatencyMS, r.PublishRate, float64(r.Projects), float64(r.Jobs), r.LingerMS, float64(r.Replicas)}}
}

// standard is how bench does a workload without any flags.
func standard(name string) setup {
	w := bench.Named(name)
	return setup{name, [axes]float64{64, bench.InMS(w.Latency), w.Rate, float64(w.Projects), float64(w.Jobs), 20, 1}}
}

// at is the setup with another value.
func (s setup) at(a axis, value float64) setup {
	s.is[a] = value
	return s
}

// setupHead is above the cells of a setup.
var setupHead = []string{"workload", "jobs", "projects", "calls at once", "replicas", "program"}

func (s setup) cells(program string) []string {
	return []string{s.workload, count(s.is[jobsAxis]), count(s.is[projectsAxis]), count(s.is[concurrencyAxis]), count(s.is[replicasAxis]), program}
}

// pool is some runs.
type pool []recorded

func (p pool) only(keep func(recorded) bool) pool {
	return slices.DeleteFunc(slices.Clone(p), func(r recorded) bool { return !keep(r) })
}

func (p pool) by(program string) pool {
	return p.only(func(r recorded) bool { return r.Program == program })
}

// like are the runs of a setup, whatever they are at some axes.
func (p pool) like(s setup, whatever ...axis) pool {
	return p.only(func(r recorded) bool {
		for _, a := range whatever {
			r.setup.is[a] = s.is[a]
		}
		return r.setup == s
	})
}

// setups are those of the runs, each once.
func (p pool) setups() []setup {
	var all []setup
	for _, r := range p {
		all = append(all, r.setup)
	}
	slices.SortFunc(all, func(a, b setup) int {
		return cmp.Or(cmp.Compare(a.workload, b.workload), slices.Compare(a.is[:], b.is[:]))
	})
	return slices.Compact(all)
}

// each calls do for every setup and program.
func (p pool) each(do func(setup, string, pool)) {
	for _, s := range p.setups() {
		for _, program := range []string{bench.ProgramBare, bench.ProgramWorker} {
			if runs := p.like(s).by(program); len(runs) > 0 {
				do(s, program, runs)
			}
		}
	}
}

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

func count(f float64) string { return thousands(int(math.Round(f))) }

// demand is a bound of the worker's, in words, and whether it was kept.
type demand struct {
	bound string
	met   bool
}

// judge fills the cells under target and met, where one word stands for all if all came out alike.
func judge(demands ...demand) []string {
	var bounds, met []string
	for _, d := range demands {
		bounds = append(bounds, d.bound)
		if d.met {
			met = append(met, "yes")
		} else {
			met = append(met, "**no**")
		}
	}
	return []string{strings.Join(bounds, ", "), strings.Join(slices.Compact(met), ", ")}
}

// section is what stands between two markers, and the plot that belongs to it.
type section struct {
	strings.Builder
	above   []string
	plot    string
	lacking []string // what there are no records of
}

func (s *section) lacks(format string, args ...any) {
	s.lacking = append(s.lacking, fmt.Sprintf(format, args...))
}

// head is written above the first row, if there is one.
func (s *section) head(cells ...string) { s.above = cells }

// row writes cells, which come in groups.
func (s *section) row(groups ...[]string) {
	if head := s.above; head != nil {
		s.WriteString("\n")
		s.above = nil
		s.row(head)
		s.row(slices.Repeat([]string{"---"}, len(head)))
	}
	fmt.Fprintf(s, "| %s |\n", strings.Join(slices.Concat(groups...), " | "))
}

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

// series is one line of a plot.
type series struct {
	name, color, dashes string // dashes, so that not colours alone tell lines apart
	y                   []*bench.Spread
}

// plot is an SVG of jobs/s, from 0, by x, which is logarithmic.
type plot struct {
	strings.Builder
	x          []float64
	step, most float64 // of jobs/s
}

// Where the axes of a plot are.
const plotLeft, plotRight, plotTop, plotBottom = 80.0, 690.0, 60.0, 310.0

// draw has a background, since a page may be dark.
func draw(title, unit string, x []float64, lines ...series) string {
	p := plot{x: x}
	for _, l := range lines {
		for _, y := range l.y {
			p.most = max(p.most, y.Max)
		}
	}
	p.step = tickStep(p.most)
	p.most = p.step * math.Ceil(p.most/p.step)
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" width="720" height="360" viewBox="0 0 720 360" role="img" font-family="sans-serif" font-size="12" fill="#222">`)
	p.add(`<title>%s</title>`, title)
	p.add(`<rect width="720" height="360" fill="#fff"/>`)
	p.text(plotLeft, 24, "start", title)
	p.text(plotLeft-8, plotTop-14, "end", "jobs/s")
	p.text((plotLeft+plotRight)/2, plotBottom+40, "middle", unit)
	p.axes()
	for i, l := range lines {
		p.line(l, float64(i*6-3), plotRight-200+110*float64(i)) // whiskers stand side by side
	}
	p.add(`</svg>`)
	return p.String()
}

func (p *plot) add(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *plot) text(x, y float64, anchor, s string) {
	p.add(`<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, s)
}

func (p *plot) atX(v float64) float64 {
	return plotLeft + 25 + (plotRight-plotLeft-50)*math.Log(v/p.x[0])/math.Log(p.x[len(p.x)-1]/p.x[0])
}

func (p *plot) atY(v float64) float64 { return plotBottom - (plotBottom-plotTop)*v/p.most }

func (p *plot) axes() {
	for v := 0.0; v <= p.most; v += p.step {
		p.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ccc"/>`, plotLeft, p.atY(v), plotRight, p.atY(v))
		p.text(plotLeft-8, p.atY(v)+4, "end", count(v))
	}
	labelled := math.Inf(-1)
	for _, v := range p.x {
		x := p.atX(v)
		p.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#222"/>`, x, plotBottom, x, plotBottom+5)
		if x-labelled >= 65 { // wider than any label
			p.text(x, plotBottom+20, "middle", count(v))
			labelled = x
		}
	}
}

func (p *plot) line(l series, shift, legend float64) {
	var path []string
	p.add(`<g stroke="%s" fill="%s" stroke-width="2">`, l.color, l.color)
	for n, y := range l.y {
		x := p.atX(p.x[n]) + shift
		path = append(path, fmt.Sprintf("%.1f,%.1f", x, p.atY(y.Median)))
		p.add(`<path d="M%.1f %.1fh8m-4 0V%.1fm-4 0h8"/>`, x-4, p.atY(y.Min), p.atY(y.Max))
		p.add(`<circle cx="%.1f" cy="%.1f" r="3"/>`, x, p.atY(y.Median))
	}
	p.add(`<polyline points="%s" fill="none" stroke-dasharray="%s"/>`, strings.Join(path, " "), l.dashes)
	p.add(`<line x1="%.1f" y1="42" x2="%.1f" y2="42" stroke-dasharray="%s"/>`, legend, legend+24, l.dashes)
	p.add(`</g>`)
	p.text(legend+30, 46, "start", l.name)
}

// tickStep is 1, 2 or 5 times a power of ten, at most six of which are needed.
func tickStep(most float64) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if most <= 6*n*unit {
				return n * unit
			}
		}
	}
}
