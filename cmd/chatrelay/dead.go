package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// deadFlags select dead letters.
type deadFlags struct {
	nats                   natsFlags
	project, reason        string
	job, recipient         string
	since, until           string
	allProjects, confirmed bool
}

func (f *deadFlags) register(cmd *cobra.Command) {
	f.nats.register(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.project, "project", "", "only this project; _ for payloads that could not be decoded")
	flags.StringVar(&f.reason, "reason", "", "only this reason: rejected, refused, expired, exhausted, ambiguous or invalid")
	flags.StringVar(&f.since, "since", "", "failed at this time (RFC 3339) or later, or in the last 90m")
	flags.StringVar(&f.until, "until", "", "failed before this time, or longer ago than 90m")
	flags.StringVar(&f.job, "job", "", "only letters of this job id")
	flags.StringVar(&f.recipient, "recipient", "", "only letters with this woven id")
	_ = cmd.RegisterFlagCompletionFunc("reason", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, r := range queue.Reasons() {
			names = append(names, string(r))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func (f *deadFlags) filter() (queue.Filter, error) {
	filter := queue.Filter{Project: f.project, Job: f.job, Recipient: f.recipient}
	var err error
	if f.project != "" && f.project != queue.UnknownProject && (len(f.project) != 36 || uuid.Validate(f.project) != nil) {
		return filter, usagef("--project %q is not a UUID", f.project)
	}
	if f.reason != "" {
		if filter.Reason, err = queue.ParseReason(f.reason); err != nil {
			return filter, usageError{err}
		}
	}
	if filter.Since, err = parseTime(f.since, -1); err != nil {
		return filter, usagef("--since: %w", err)
	}
	if filter.Until, err = parseTime(f.until, -1); err != nil {
		return filter, usagef("--until: %w", err)
	}
	return filter, nil
}

func (a *app) deadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look into the dead letters, replay or drop them",
		Long: `A dead letter holds the recipients of one job who could not be told, for one reason:

  rejected   the Chat API named the recipient as not reachable
  refused    the Chat API refused the call, and these recipients are the cause
  expired    expires_at passed before they were told
  exhausted  still failing after --retry-for
  ambiguous  they may have been told, and are not told again
  invalid    the job was malformed; its payload is kept`,
		Example: `  chatrelay dead list --since 2h --reason rejected
  chatrelay dead show 4711
  chatrelay dead replay --project 0f8fad5b-d9cb-469f-a165-70867728950e --reason exhausted`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.deadListCommand(), a.deadShowCommand(),
		a.deadActCommand(replaying), a.deadActCommand(dropping))
	return cmd
}

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
			err = q.DeadLetters(cmd.Context(), filter, func(l queue.DeadLetter) bool {
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

// listed is a letter as JSON shows it: with its number, which the stored form need not repeat.
type listed struct {
	Seq uint64 `json:"seq"`
	queue.DeadLetter
	Where string `json:"where"`
}

func (a *app) printLetter(l queue.DeadLetter, first bool) error {
	if a.output == "json" {
		return term.PrintJSON(a.stdout, listed{l.Seq, l, l.Where})
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
	_, err := fmt.Fprintf(a.stdout, "%6d  %-16s %-9s %-9s %-20s %-22s %s\n", l.Seq, l.FailedAt.UTC().Format("2006-01-02 15:04"),
		term.Clip(term.Plain(l.ProjectID), 9), term.Plain(string(l.Reason)), term.Clip(term.Plain(l.JobID), 20), who(l.WovenIDs), term.Clip(term.Plain(detail), 60))
	return err
}

// who names the first recipients, as many as fit.
func who(ids []string) string {
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

func (a *app) deadShowCommand() *cobra.Command {
	var nats natsFlags
	cmd := &cobra.Command{
		Use:     "show SEQ",
		Short:   "Print one dead letter whole, as JSON",
		Example: `  chatrelay dead show 4711`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usagef("%q is not the number of a dead letter; see: chatrelay dead list", args[0])
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), quick)
			defer cancel()
			q, err := nats.connect(ctx, "dead show")
			if err != nil {
				return err
			}
			defer q.Close()
			l, err := q.DeadLetter(ctx, seq)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return term.PrintJSON(a.stdout, listed{l.Seq, l, l.Where})
			}
			text, err := json.MarshalIndent(listed{l.Seq, l, l.Where}, "", "  ")
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s\n", text)
			if l.Raw != nil {
				fmt.Fprintf(a.stdout, "\nthe payload in raw, %d bytes:\n%s\n", len(l.Raw), term.Clip(term.Plain(string(l.Raw)), 2000))
			}
			return nil
		},
	}
	nats.register(cmd.Flags())
	return cmd
}
