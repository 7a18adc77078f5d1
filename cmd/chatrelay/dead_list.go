package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/ops"
)

func (a *app) deadListCommand() *cobra.Command {
	var f deadFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, oldest first",
		Long:  "Lists dead letters, oldest first. With --output json, one letter per line.",
		Example: `  chatrelay dead list
  chatrelay dead list --project 0f8fad5b-d9cb-469f-a165-70867728950e --since 24h
  chatrelay dead list --output json | jq -r '.woven_ids[]'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter()
			if err != nil {
				return err
			}
			q, err := f.nats.connect(cmd.Context(), "dead list")
			if err != nil {
				return err
			}
			defer q.Close()
			n := 0
			var failed error
			err = ops.New(q).Letters(cmd.Context(), filter, func(l ops.Letter) bool {
				n++
				failed = a.printLetter(l, n == 1)
				return failed == nil
			})
			if err = errors.Join(err, failed); err != nil {
				return err
			}
			if a.output == "text" && n == 0 {
				fmt.Fprintln(a.stdout, "no dead letters match")
			}
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func (a *app) printLetter(l ops.Letter, first bool) error {
	if a.output == "json" {
		return term.PrintJSON(a.stdout, l)
	}
	if first {
		fmt.Fprintf(a.stdout, "%6s  %-16s %-9s %-9s %-20s %-22s %s\n", "SEQ", "FAILED (UTC)", "PROJECT", "REASON", "JOB", "RECIPIENTS", "DETAIL")
	}
	detail := ""
	if len(l.Failures) > 0 {
		detail = l.Failures[0].Detail
	}
	if len(l.Failures) > 1 {
		detail += fmt.Sprintf(" (and %d more)", len(l.Failures)-1)
	}
	_, err := fmt.Fprintf(a.stdout, "%6d  %-16s %-9s %-9s %-20s %-22s %s\n", l.Seq, l.FailedAt.UTC().Format(shownTime),
		term.Clip(term.Plain(l.ProjectID), 9), term.Plain(string(l.Reason)), term.Clip(term.Plain(l.JobID), 20), recipients(l.WovenIDs), term.Clip(term.Plain(detail), 60))
	return err
}

// recipients names the first of them, as many as fit.
func recipients(ids []string) string {
	const most = 22
	if len(ids) == 0 {
		return "-"
	}
	first := term.Plain(ids[0])
	if len(ids) == 1 {
		return term.Clip(first, most)
	}
	more := fmt.Sprintf(" and %d more", len(ids)-1)
	return term.Clip(first, max(4, most-len(more))) + more
}
