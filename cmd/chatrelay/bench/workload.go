package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// Workload is what one measurement publishes, and how the worker is set up for it.
type Workload struct {
	Name, Shows string
	Jobs        int
	Recipients  int // of each job, all different
	Projects    int
	Messages    int // of each project; 0: every job has its own
	Limit       int // recipients of one call
	Latency     time.Duration
	// Rate is how many jobs a second are published while the worker runs; 0: all before it starts.
	Rate float64
	// Timed says that every job's way is timed, from its PubAck to its receipt by the API.
	Timed bool
}

// Workloads are those that there are, as they are measured if nothing else is asked for.
func Workloads() []Workload {
	return []Workload{
		{Name: "W1", Shows: "coalescing", Jobs: 200_000, Recipients: 1, Projects: 10, Messages: 5, Limit: 500},
		{Name: "W2", Shows: "one call per job", Jobs: 50_000, Recipients: 1, Projects: 10, Limit: 500},
		{Name: "W3", Shows: "large jobs", Jobs: 200, Recipients: 10_000, Projects: 10, Limit: 1000},
		{Name: "W4", Shows: "waiting well", Jobs: 50_000, Recipients: 1, Projects: 10, Limit: 500, Latency: 20 * time.Millisecond},
		{Name: "L", Shows: "latency when idle", Jobs: 1000, Recipients: 1, Projects: 10, Limit: 500, Rate: 100, Timed: true},
	}
}

// Names are those of all workloads.
func Names() []string {
	var names []string
	for _, w := range Workloads() {
		names = append(names, w.Name)
	}
	return names
}

// Named finds a workload, which must be one of [Names].
func Named(name string) Workload {
	all := Workloads()
	return all[slices.IndexFunc(all, func(w Workload) bool { return w.Name == name })]
}

// Table describes all workloads, one on each line.
func Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-3s %9s  %10s  %8s  %8s  %s\n", "", "jobs", "recipients", "projects", "messages", "what it shows")
	for _, w := range Workloads() {
		messages := "distinct"
		if w.Messages > 0 {
			messages = fmt.Sprint(w.Projects * w.Messages)
		}
		shows := w.Shows
		if w.Latency > 0 {
			shows += fmt.Sprintf(", with %v for each call", w.Latency)
		}
		if w.Rate > 0 {
			shows += fmt.Sprintf(", at %v jobs a second", w.Rate)
		}
		fmt.Fprintf(&b, "  %-3s %9d  %10d  %8d  %8s  %s\n", w.Name, w.Jobs, w.Jobs*w.Recipients, w.Projects, messages, shows)
	}
	return strings.TrimRight(b.String(), "\n")
}

// Ideal is how many calls the workload takes at least.
func (w Workload) Ideal() int {
	switch {
	case w.Recipients > w.Limit:
		return w.Jobs * ((w.Recipients + w.Limit - 1) / w.Limit)
	case w.Messages == 0:
		return w.Jobs
	}
	calls := 0
	for kind := range w.Projects * w.Messages {
		jobs := (w.Jobs - kind + w.Projects*w.Messages - 1) / (w.Projects * w.Messages)
		perCall := w.Limit / w.Recipients
		calls += (jobs + perCall - 1) / perCall
	}
	return calls
}

// job is the workload's n-th. Its recipients are numbered, so that each can be counted.
func (w Workload) job(n int) queue.Job {
	project, message := w.kind(n)
	j := queue.Job{ID: fmt.Sprint("b-", n), ProjectID: fmt.Sprintf("%s%012d", projectPrefix, project), Message: fmt.Sprint(messagePrefix, message), WovenIDs: make([]string, w.Recipients)}
	for i := range j.WovenIDs {
		j.WovenIDs[i] = fmt.Sprint(recipientPrefix, n*w.Recipients+i)
	}
	return j
}

// kind is the project and the message of the n-th job.
func (w Workload) kind(n int) (project, message int) {
	project, message = n%w.Projects, n
	if w.Messages > 0 {
		message = n / w.Projects % w.Messages
	}
	return project, message
}

// How projects, messages and recipients of a benchmark are named: each ends in its number.
const (
	projectPrefix   = "00000000-0000-4000-8000-"
	messagePrefix   = "Your coffee is ready. It is number "
	recipientPrefix = "w-"
)
