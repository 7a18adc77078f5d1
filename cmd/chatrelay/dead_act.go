package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/ops"
	"github.com/chatrelay/chatrelay/queue"
)

func (a *app) deadReplayCommand() *cobra.Command {
	return a.deadActCommand(ops.Replay, &cobra.Command{
		Short: "Publish the recipients of dead letters again, as new jobs",
		Long: `Publishes the recipients of dead letters as new jobs, each with the priority that it had, and then
deletes the letters. If it is interrupted, nothing is lost; run it again within an hour and nothing is
delivered twice. Invalid payloads stay: they would only be refused again. A letter that cannot be replayed
does not stop the others: at the end it says which these are, and why, and exits with 1.`,
		Example: `  chatrelay dead replay --project 0f8fad5b-d9cb-469f-a165-70867728950e --reason exhausted
  chatrelay dead replay --all-projects --since 2h --yes`,
	})
}

func (a *app) deadDropCommand() *cobra.Command {
	return a.deadActCommand(ops.Drop, &cobra.Command{
		Short: "Delete dead letters for good",
		Long:  `Deletes dead letters for good: nothing will be delivered to their recipients.`,
		Example: `  chatrelay dead drop --project 0f8fad5b-d9cb-469f-a165-70867728950e --reason expired
  chatrelay dead drop --all-projects --reason invalid --yes`,
	})
}

// done is what was done by an action, in words; it is also the name of a member in JSON.
var done = map[ops.Action]string{ops.Replay: "replayed", ops.Drop: "dropped"}

func (a *app) deadActCommand(act ops.Action, cmd *cobra.Command) *cobra.Command {
	var f deadFlags
	cmd.Use = string(act)
	cmd.Long += `

It shows what it is about to do and asks for confirmation; without a terminal it needs --yes. It acts
on exactly the letters that it has shown, not on letters that arrive meanwhile.`
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("dead %s takes no numbers; choose with --job, --recipient, --reason", act)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		filter, err := f.filter()
		if err != nil {
			return err
		}
		if (f.project == "") == !f.allProjects {
			return usagef("say whose letters to %s: either --project ID or --all-projects", act)
		}
		q, err := f.nats.connect(cmd.Context(), "dead "+string(act))
		if err != nil {
			return err
		}
		defer q.Close()
		return a.act(cmd.Context(), ops.New(q), act, filter, f.confirmed)
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.allProjects, "all-projects", false, "the letters of all projects")
	cmd.Flags().BoolVarP(&f.confirmed, "yes", "y", false, "do it without asking")
	return cmd
}

// act plans, shows, asks and acts.
func (a *app) act(ctx context.Context, o *ops.Ops, act ops.Action, filter queue.Filter, confirmed bool) error {
	p, err := o.Plan(ctx, act, filter)
	if err != nil {
		return err
	}
	if a.output == "text" {
		a.printPlan(p)
	}
	if len(p.Seqs) > 0 && !confirmed {
		if err := a.confirm(ctx, p); err != nil {
			return err
		}
	}
	bar := term.CountProgress(a.stderr, int64(len(p.Seqs)), string(act))
	r, failed := o.Act(ctx, p, func(letters int) { bar.Set(int64(letters)) })
	bar.Finish()
	if err := a.printResult(p, r); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return fmt.Errorf("%s after %d of %d: %w; the others are as they were, run it again to go on", act, r.Done, len(p.Seqs), failed)
	case r.Failed > 0:
		return fmt.Errorf("%s: %d of %d failed, which are as they were", act, r.Failed, len(p.Seqs))
	}
	return nil
}

func (a *app) printResult(p ops.Plan, r ops.Result) error {
	if a.output == "json" {
		failures := r.Failures
		if failures == nil {
			failures = []ops.LetterFailure{}
		}
		return term.PrintJSON(a.stdout, map[string]any{done[p.Action]: r.Done, "gone": r.Gone, "matched": len(p.Seqs), "left_invalid": p.Invalid,
			"groups": p.Groups, "failed": r.Failed, "failures": failures})
	}
	if len(p.Seqs) == 0 {
		return nil
	}
	fmt.Fprintf(a.stdout, "%s %s\n", done[p.Action], term.Counted(r.Done, "dead letter"))
	if r.Gone > 0 {
		fmt.Fprintf(a.stdout, "%d had been replayed, dropped or replaced meanwhile\n", r.Gone)
	}
	if r.Failed > 0 {
		fmt.Fprintf(a.stdout, "%s failed:\n", term.Counted(r.Failed, "letter"))
	}
	for _, f := range r.Failures {
		fmt.Fprintf(a.stdout, "  %s\n", term.Plain(f.Reason))
	}
	if more := r.Failed - len(r.Failures); more > 0 {
		fmt.Fprintf(a.stdout, "  and %d more\n", more)
	}
	return nil
}

func (a *app) printPlan(p ops.Plan) {
	if len(p.Seqs) == 0 {
		fmt.Fprintf(a.stdout, "no dead letters to %s\n", p.Action)
	} else {
		fmt.Fprintf(a.stdout, "about to %s %s with %s, up to number %d:\n", p.Action,
			term.Counted(len(p.Seqs), "dead letter"), term.Counted(p.Recipients, "recipient"), slices.Max(p.Seqs))
		for _, g := range p.Groups {
			fmt.Fprintf(a.stdout, "  %-36s %-9s %s, %s\n", term.Plain(g.Project), term.Plain(string(g.Reason)), term.Counted(g.Letters, "letter"), term.Counted(g.Recipients, "recipient"))
		}
	}
	if p.Invalid > 0 {
		fmt.Fprintf(a.stdout, "%s with invalid payloads cannot be replayed and will stay\n", term.Counted(p.Invalid, "letter"))
	}
}

// confirm asks on a terminal; elsewhere --yes is needed.
func (a *app) confirm(ctx context.Context, p ops.Plan) error {
	verb := string(p.Action)
	if !term.IsTerminal(a.stdin) {
		return usagef("there is no terminal to ask on: add --yes to %s %s", verb, term.Counted(len(p.Seqs), "dead letter"))
	}
	fmt.Fprintf(a.stderr, "%s them? [y/N] ", strings.ToUpper(verb[:1])+verb[1:])
	answer := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(a.stdin).ReadString('\n') // an ended input is a no
		answer <- strings.ToLower(strings.TrimSpace(text))
	}()
	select {
	case text := <-answer:
		if text == "y" || text == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
	}
	return errors.New("nothing was done")
}
