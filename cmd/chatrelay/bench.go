package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
	"github.com/chatrelay/chatrelay/queue"
)

// benchFlags say what is measured and how.
type benchFlags struct {
	bench.Config
	jobs     int
	projects int
	rate     float64
	latency  time.Duration
}

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [workload...]",
		Short: "Measure the worker beside a bare loop that does the same without any guarantee",
		Long: `Measures how fast the worker empties a stream, and what it costs. The worker and a bare loop (fetch,
merge perfectly, POST, ack; no retries, no dead letters, no fairness) do every workload in turn, each
in processes of its own beside a fresh nats-server and a Chat API. The API counts the deliveries to
every recipient; a recipient with none, or with more than one, is an error.

Time runs from the first job that the worker gets until the stream is empty; the time that the worker
needs to start is shown apart. The ratio is the worker's rate divided by the bare loop's, for each
pair. For W4 the rate is also compared with what the API's latency allows. Peak memory is the worker's
largest resident set.

` + bench.Table(),
		Example: `  chatrelay bench                              # all workloads, about five minutes
  chatrelay bench W1 --jobs 1000000 --pairs 1
  chatrelay bench W2 --replicas 4 --latency 50ms
  chatrelay bench W1 --rate 5000 --jobs 3000000 --pairs 1 --bare=false   # ten minutes
  chatrelay bench L --linger 0 --output json`,
		ValidArgs: bench.Names(),
		Args: func(_ *cobra.Command, args []string) error {
			for _, name := range args {
				if !slices.Contains(bench.Names(), name) {
					return fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(bench.Names(), ", "))
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen, err := f.choose(cmd, args)
			if err != nil {
				return err
			}
			f.Version, f.Command = version(), []string{"chatrelay"}
			for _, arg := range os.Args[1:] {
				if f.NATSURL != "" { // the record must not hold its password
					arg = strings.ReplaceAll(arg, f.NATSURL, queue.RedactURL(f.NATSURL))
				}
				f.Command = append(f.Command, arg)
			}
			f.Out, f.Err, f.JSON = a.stdout, a.stderr, a.output == "json"
			return bench.Measure(cmd.Context(), f.Config, chosen)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.NATSURL, "nats-url", "", "measure with this NATS, whose streams must be empty; without it a nats-server is started for each run")
	flags.StringVar(&f.NATSCreds, "nats-creds", "", "NATS credentials file")
	flags.IntVar(&f.Pairs, "pairs", 3, "how many times the worker and the bare loop each do every workload")
	flags.IntVar(&f.jobs, "jobs", 0, "number of jobs, instead of the workload's own")
	flags.IntVar(&f.projects, "projects", 0, "number of projects, instead of the workload's own")
	flags.Float64Var(&f.rate, "rate", 0, "publish this many jobs per second while the worker runs, instead of as the workload does")
	flags.DurationVar(&f.latency, "latency", 0, "how long the API takes to answer, instead of the workload's own")
	flags.DurationVar(&f.Linger, "linger", 20*time.Millisecond, "linger of the worker")
	flags.IntVar(&f.Concurrency, "concurrency", 64, "most calls in flight, of each replica")
	flags.BoolVar(&f.Bare, "bare", true, "measure the bare loop as well")
	flags.IntVar(&f.Replicas, "replicas", 1, "how many workers, or bare loops, share the work")
	cmd.AddCommand(a.benchBrokerCommand(), a.benchAPICommand(), a.benchBareCommand(), a.benchWorkerCommand(), a.benchDocumentCommand())
	return cmd
}

// choose finds the workloads, with what flags change about them.
func (f *benchFlags) choose(cmd *cobra.Command, names []string) ([]bench.Workload, error) {
	if f.Pairs < 1 || f.Concurrency < 1 || f.Replicas < 1 || f.jobs < 0 || f.projects < 0 || f.rate < 0 || f.latency < 0 || f.Linger < 0 {
		return nil, usagef("--pairs, --concurrency and --replicas must be 1 or more, other numbers not negative")
	}
	var chosen []bench.Workload
	for _, w := range bench.Workloads() {
		if len(names) > 0 && !slices.Contains(names, w.Name) {
			continue
		}
		if f.jobs > 0 {
			w.Jobs = f.jobs
		}
		if f.projects > 0 {
			w.Projects = f.projects
		}
		if f.rate > 0 {
			w.Rate = f.rate
		}
		if cmd.Flags().Changed("latency") {
			w.Latency = f.latency
		}
		chosen = append(chosen, w)
	}
	return chosen, nil
}
