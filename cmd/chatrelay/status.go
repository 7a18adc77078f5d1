package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/ops"
	"github.com/chatrelay/chatrelay/queue"
)

func (a *app) statusCommand() *cobra.Command {
	var nats natsFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is queued, held, scheduled and dead, and which workers are attached",
		Long: `Shows what is queued, held, scheduled and dead, which workers are attached, and which gates are closed and why.

With --output json: queued and held count jobs, in all and for each of priorities; waiting is what the
text calls scheduled; due counts those whose time has come and that no worker has taken yet, which
waiting does not; dead and dead_by_reason count dead letters; oldest_age_seconds is the age of the
oldest job that is queued or held, without those in NOTIFY_LATER; workers are those attached, each with its closed gates: detail is what happened, advice what to do,
narrow says that only one message of the project waits; conditions are what a worker cannot do and since when, and
clock_ahead_seconds by how much the clock of NATS is ahead of its own. overdue counts scheduled jobs that NATS did
not deliver at their time, delayed those that wait in their stream as too much is scheduled, and stream_troubles
names streams that are nearly full, whose consumer is paused, or that NATS cannot write. unsafe names settings with
which jobs may vanish or be repeated, and the command that puts each right.`,
		Example: `  chatrelay status
  chatrelay status --output json | jq .oldest_age_seconds`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), opTimeout)
			defer cancel()
			q, err := nats.connect(ctx, "status")
			if err != nil {
				return err
			}
			defer q.Close()
			st, err := ops.New(q).Status(ctx)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return term.PrintJSON(a.stdout, statusDocument{st.Status, unsafeSettings(st.Unsafe)})
			}
			a.printStatus(st)
			return nil
		},
	}
	nats.register(cmd.Flags())
	return cmd
}

func (a *app) printStatus(st ops.Status) {
	row := func(name string, queued uint64, held int, oldest float64) {
		fmt.Fprintf(a.stdout, "%-9s %10d %10d %12s\n", name, queued, held, term.Age(time.Duration(oldest*float64(time.Second))))
	}
	fmt.Fprintf(a.stdout, "%-9s %10s %10s %12s\n", "", "queued", "held", "oldest job")
	for _, p := range st.Priorities {
		row(string(p.Priority), p.Queued, p.Held, p.OldestAge)
	}
	row("in all", st.Queued, st.Held, st.OldestAge)
	fmt.Fprintf(a.stdout, "\nscheduled          %d, due and not yet taken by a worker %d\n", st.Scheduled, st.Due)
	a.printWaiting(st)
	fmt.Fprintf(a.stdout, "dead letters       %d%s\n", st.Dead, byReason(st.DeadByReason))
	fmt.Fprintf(a.stdout, "workers attached   %d\n", len(st.Workers))
	for _, w := range st.Workers {
		since := w.Info["started"]
		if t, err := time.Parse(time.RFC3339, since); err == nil {
			since = "for " + term.Age(time.Since(t.Add(seconds(w.ClockAhead)))) // it is by the worker's clock
		}
		fmt.Fprintf(a.stdout, "  %s, process %s, %s%s\n", foreign(w.Info["host"]), foreign(w.Info["pid"]), foreign(since), clock(w.ClockAhead))
		a.printConditions(w.Conditions)
	}
	a.printGates(st)
	a.printCallSizes(st.CallSizes)
	if st.Unattended {
		fmt.Fprintln(a.stdout, "\nNo worker is attached to do what is queued; start one with: chatrelay worker")
	}
}

// printGates shows for which projects no calls are made, why, and what to do about it.
func (a *app) printGates(st ops.Status) {
	more := 0
	for _, w := range st.Workers {
		more = max(more, w.GatesLeftOut)
	}
	if len(st.Closed) == 0 {
		return
	}
	fmt.Fprintf(a.stdout, "closed gates       %d", len(st.Closed))
	if more > 0 {
		fmt.Fprintf(a.stdout, " shown, %d more", more)
	}
	fmt.Fprintln(a.stdout)
	for _, g := range st.Closed {
		text := foreign(g.Kind)
		if g.Status != 0 {
			text += fmt.Sprintf(", status %d", g.Status)
		}
		switch wait := time.Until(g.Until); {
		case wait > 0 && g.Narrow:
			text += ", of one message only as far as is known, tried in " + term.Age(wait)
		case wait > 0:
			text += ", next call in " + term.Age(wait)
		default:
			text += ", being probed"
		}
		if g.Shared {
			text += ", and of all projects with the same credential"
		}
		if g.From != "" {
			text += ", by word of worker " + foreign(g.From)
		}
		if g.Advice != "" {
			text += ": " + foreign(g.Advice)
		}
		fmt.Fprintf(a.stdout, "  %-36s %s\n", foreign(g.ProjectID), text)
		if g.Detail != "" {
			fmt.Fprintf(a.stdout, "  %-36s %s\n", "", foreign(g.Detail))
		}
	}
}

// printCallSizes shows for which projects the API takes smaller calls than the workers would make.
func (a *app) printCallSizes(sizes []queue.CallSize) {
	if len(sizes) == 0 {
		return
	}
	fmt.Fprintf(a.stdout, "smaller calls      %d\n", len(sizes))
	for _, c := range sizes {
		fmt.Fprintf(a.stdout, "  %-36s the API takes about %d recipients in a call: --max-recipients can be lowered\n", foreign(c.ProjectID), c.Recipients)
	}
}

// foreign makes a text that came over NATS, from anybody, safe to show.
func foreign(text string) string { return term.Clip(term.Plain(text), 300) }

func byReason(counts map[queue.Reason]uint64) string {
	var parts []string
	reasons := queue.Reasons()
	for _, r := range slices.Sorted(maps.Keys(counts)) { // those that no worker wrote
		if !slices.Contains(reasons, r) {
			reasons = append(reasons, r)
		}
	}
	for _, r := range reasons {
		if n := counts[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", r, n))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
