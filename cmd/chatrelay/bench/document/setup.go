package document

import (
	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
)

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
