package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// workload is what one measurement publishes, and how the worker is set up for it.
type workload struct {
	name, shows string
	jobs        int
	recipients  int // of each job, all different
	projects    int
	messages    int // of each project; 0: every job has its own
	limit       int // recipients of one call
	latency     time.Duration
	// rate is how many jobs a second are published while the worker runs; 0: all before it starts.
	rate float64
	// timed says that every job's way is timed, from its PubAck to its receipt by the API.
	timed bool
}

var workloads = []workload{
	{name: "W1", shows: "coalescing", jobs: 200_000, recipients: 1, projects: 10, messages: 5, limit: 500},
	{name: "W2", shows: "one call per job", jobs: 50_000, recipients: 1, projects: 10, limit: 500},
	{name: "W3", shows: "large jobs", jobs: 200, recipients: 10_000, projects: 10, limit: 1000},
	{name: "W4", shows: "waiting well", jobs: 50_000, recipients: 1, projects: 10, limit: 500, latency: 20 * time.Millisecond},
	{name: "L", shows: "latency when idle", jobs: 1000, recipients: 1, projects: 10, limit: 500, rate: 100, timed: true},
}

// ideal is how many calls the workload takes at least.
func (w workload) ideal() int {
	switch {
	case w.recipients > w.limit:
		return w.jobs * ((w.recipients + w.limit - 1) / w.limit)
	case w.messages == 0:
		return w.jobs
	}
	calls := 0
	for kind := range w.projects * w.messages {
		jobs := (w.jobs - kind + w.projects*w.messages - 1) / (w.projects * w.messages)
		perCall := w.limit / w.recipients
		calls += (jobs + perCall - 1) / perCall
	}
	return calls
}

// job is the workload's n-th. Its recipients are numbered, so that each can be counted.
func (w workload) job(n int) queue.Job {
	project, message := w.kind(n)
	j := queue.Job{ID: fmt.Sprint("b-", n), ProjectID: benchProject(project), Message: benchMessage(message), WovenIDs: make([]string, w.recipients)}
	for i := range j.WovenIDs {
		j.WovenIDs[i] = fmt.Sprint(benchRecipient, n*w.recipients+i)
	}
	return j
}

// kind is the project and the message of the n-th job.
func (w workload) kind(n int) (project, message int) {
	project, message = n%w.projects, n
	if w.messages > 0 {
		message = n / w.projects % w.messages
	}
	return project, message
}

// How projects, messages and recipients of a benchmark are named: each ends in its number.
const (
	benchProjectPrefix = "00000000-0000-4000-8000-"
	benchMessagePrefix = "Your coffee is ready. It is number "
	benchRecipient     = "w-"
)

func benchProject(n int) string { return fmt.Sprintf("%s%012d", benchProjectPrefix, n) }
func benchMessage(n int) string { return fmt.Sprint(benchMessagePrefix, n) }

// benchFlags say what is measured and how.
type benchFlags struct {
	nats        natsFlags
	pairs       int
	jobs        int
	projects    int
	rate        float64
	latency     time.Duration
	linger      time.Duration
	concurrency int
	replicas    int
	bare        bool
}

// programs are those that are measured.
func (f *benchFlags) programs() []string {
	if f.bare {
		return []string{programBare, programWorker}
	}
	return []string{programWorker}
}

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [workload...]",
		Short: "Measure the worker beside a bare loop that does the same without any guarantee",
		Long: `Measures how fast the worker empties a stream, and what it costs. Every workload is done in turn by
the worker and by a bare loop (fetch, merge perfectly, POST, ack; no retries, no dead letters, no
fairness), in processes of their own beside a fresh nats-server and a Chat API that counts every
recipient. A recipient who is not told, or told twice, is an error.

Time runs from the first job that the worker is given to the empty stream; what it needs to start is
shown apart. The ratio is the worker's rate by the bare loop's, of each pair; of W4 it is also given
by what the API's latency allows. Peak memory is the worker's largest resident set.

` + workloadTable(),
		Example: `  chatrelay bench                              # all workloads, about five minutes
  chatrelay bench W1 --jobs 1000000 --pairs 1
  chatrelay bench W2 --replicas 4 --latency 50ms
  chatrelay bench W1 --rate 5000 --jobs 3000000 --pairs 1 --bare=false   # ten minutes
  chatrelay bench L --linger 0 --output json`,
		ValidArgs: workloadNames(),
		Args: func(_ *cobra.Command, args []string) error {
			for _, name := range args {
				if !slices.Contains(workloadNames(), name) {
					return fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(workloadNames(), ", "))
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := f.choose(cmd, args)
			if err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, chosen)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.nats.url, "nats-url", "", "measure with this NATS, whose streams must be empty; without it a nats-server is started for each run")
	flags.StringVar(&f.nats.creds, "nats-creds", "", "NATS credentials file")
	flags.IntVar(&f.pairs, "pairs", 3, "how often each workload is done by either")
	flags.IntVar(&f.jobs, "jobs", 0, "number of jobs, instead of the workload's own")
	flags.IntVar(&f.projects, "projects", 0, "number of projects, instead of the workload's own")
	flags.Float64Var(&f.rate, "rate", 0, "publish so many jobs a second while the worker runs, instead of the workload's own way")
	flags.DurationVar(&f.latency, "latency", 0, "how long the API takes to answer, instead of the workload's own")
	flags.DurationVar(&f.linger, "linger", 20*time.Millisecond, "of the worker")
	flags.IntVar(&f.concurrency, "concurrency", 64, "calls under way at the same time, of each replica")
	flags.BoolVar(&f.bare, "bare", true, "measure the bare loop, too")
	flags.IntVar(&f.replicas, "replicas", 1, "how many workers, or bare loops, share the work")
	cmd.AddCommand(a.benchBrokerCommand(), a.benchAPICommand(), a.benchBareCommand(), a.benchWorkerCommand())
	return cmd
}

// choose finds the workloads, with what flags change about them.
func (f *benchFlags) choose(cmd *cobra.Command, names []string) ([]workload, error) {
	if f.pairs < 1 || f.concurrency < 1 || f.replicas < 1 || f.jobs < 0 || f.projects < 0 || f.rate < 0 || f.latency < 0 || f.linger < 0 {
		return nil, usagef("--pairs, --concurrency and --replicas must be 1 or more, other numbers not negative")
	}
	var chosen []workload
	for _, w := range workloads {
		if len(names) > 0 && !slices.Contains(names, w.name) {
			continue
		}
		if f.jobs > 0 {
			w.jobs = f.jobs
		}
		if f.projects > 0 {
			w.projects = f.projects
		}
		if f.rate > 0 {
			w.rate = f.rate
		}
		if cmd.Flags().Changed("latency") {
			w.latency = f.latency
		}
		chosen = append(chosen, w)
	}
	return chosen, nil
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

func workloadTable() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-3s %9s  %10s  %8s  %8s  %s\n", "", "jobs", "recipients", "projects", "messages", "what it shows")
	for _, w := range workloads {
		messages := "distinct"
		if w.messages > 0 {
			messages = fmt.Sprint(w.projects * w.messages)
		}
		shows := w.shows
		if w.latency > 0 {
			shows += fmt.Sprintf(", with %v for each call", w.latency)
		}
		if w.rate > 0 {
			shows += fmt.Sprintf(", at %v jobs a second", w.rate)
		}
		fmt.Fprintf(&b, "  %-3s %9d  %10d  %8d  %8s  %s\n", w.name, w.jobs, w.jobs*w.recipients, w.projects, messages, shows)
	}
	return strings.TrimRight(b.String(), "\n")
}

// bench measures, and prints every workload when it is done.
func (a *app) bench(ctx context.Context, f benchFlags, chosen []workload) error {
	dir, err := os.MkdirTemp("", "chatrelay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	report := newBenchReport(a, f)
	if err := report.begin(); err != nil {
		return err
	}
	bar := term.CountProgress(a.stderr, int64(len(f.programs())*f.pairs*len(chosen)), "")
	defer func() { bar.Finish() }()
	for _, w := range chosen {
		var runs []benchRun
		for pair := range f.pairs {
			programs := f.programs()
			if pair%2 == 1 { // whoever goes second finds the machine warmer: they take turns
				slices.Reverse(programs)
			}
			for _, program := range programs {
				bar.Describe(fmt.Sprintf("%s pair %d of %d, %s", w.name, pair+1, f.pairs, program))
				m := measurement{app: a, flags: f, workload: w, program: program, dir: dir}
				run, err := m.run(ctx)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", w.name, program, err)
				}
				run.Pair = pair + 1
				runs = append(runs, run)
				bar.Add(1)
			}
		}
		bar.Clear()
		if err := report.workload(w, runs); err != nil {
			return err
		}
	}
	return nil
}
