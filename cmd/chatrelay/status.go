package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

func (a *app) statusCommand() *cobra.Command {
	var nats natsFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is queued, held, waiting and dead, and which workers are attached",
		Example: `  chatrelay status
  chatrelay status --output json | jq .oldest_age_seconds`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), quick)
			defer cancel()
			q, err := nats.connect(ctx, "status")
			if err != nil {
				return err
			}
			defer q.Close()
			st, err := q.Status(ctx, 0)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return term.PrintJSON(a.stdout, st)
			}
			a.printStatus(st)
			return nil
		},
	}
	nats.register(cmd.Flags())
	return cmd
}

func (a *app) printStatus(st queue.Status) {
	row := func(name string, queued uint64, held int, oldest float64) {
		fmt.Fprintf(a.stdout, "%-9s %10d %10d %12s\n", name, queued, held, term.Age(time.Duration(oldest*float64(time.Second))))
	}
	fmt.Fprintf(a.stdout, "%-9s %10s %10s %12s\n", "", "queued", "held", "oldest job")
	for _, p := range st.Priorities {
		row(string(p.Priority), p.Queued, p.Held, p.OldestAge)
	}
	row("in all", st.Queued, st.Held, st.OldestAge)
	fmt.Fprintf(a.stdout, "\nwaiting for later  %d, come due and not yet taken  %d\n", st.Waiting, st.Due)
	fmt.Fprintf(a.stdout, "dead letters       %d%s\n", st.Dead, byReason(st.DeadByReason))
	fmt.Fprintf(a.stdout, "workers attached   %d\n", len(st.Workers))
	for _, w := range st.Workers {
		since := w.Info["started"]
		if t, err := time.Parse(time.RFC3339, since); err == nil {
			since = "for " + term.Age(time.Since(t))
		}
		fmt.Fprintf(a.stdout, "  %s, process %s, %s\n", term.Plain(w.Info["host"]), term.Plain(w.Info["pid"]), term.Plain(since))
	}
	a.printGates(st.Workers)
	if len(st.Workers) == 0 && st.Queued+st.Due > 0 {
		fmt.Fprintln(a.stdout, "\nNobody works on what is queued: start a worker with: chatrelay worker")
	}
}

// printGates shows for which projects no calls are made, once for all workers.
func (a *app) printGates(workers []queue.WorkerStatus) {
	closed := map[string]queue.GateStatus{}
	for _, w := range workers {
		for _, g := range w.Gates {
			if g.Until.After(closed[g.ProjectID].Until) {
				closed[g.ProjectID] = g
			}
		}
	}
	if len(closed) == 0 {
		return
	}
	fmt.Fprintf(a.stdout, "closed gates       %d\n", len(closed))
	for _, id := range slices.Sorted(maps.Keys(closed)) {
		g := closed[id]
		what := term.Plain(g.Kind)
		if g.Status != 0 {
			what += fmt.Sprintf(", status %d", g.Status)
		}
		next := "being probed"
		if wait := time.Until(g.Until); wait > 0 {
			next = "next call in " + term.Age(wait)
		}
		if advice := chatapi.Kind(g.Kind).Advice(); advice != "" {
			next += ": " + advice
		}
		fmt.Fprintf(a.stdout, "  %-36s %s, %s\n", term.Plain(id), what, next)
	}
}

func byReason(counts map[queue.Reason]uint64) string {
	var parts []string
	for _, r := range queue.Reasons() {
		if n := counts[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", r, n))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
