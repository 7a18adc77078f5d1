package main

import (
	"github.com/google/uuid"
	"github.com/spf13/cobra"

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
	flags.StringVar(&f.since, "since", "", "failed at this time (RFC 3339, or a date or time in UTC) or later; or within this duration, such as 90m, 36h, 2d or 1w")
	flags.StringVar(&f.until, "until", "", "failed before this time (RFC 3339, or a date or time in UTC); or longer ago than this duration, such as 90m, 36h, 2d or 1w")
	flags.StringVar(&f.job, "job", "", "only letters of the job with this id")
	flags.StringVar(&f.recipient, "recipient", "", "only letters with this woven id")
	_ = cmd.RegisterFlagCompletionFunc("reason", complete(queue.Reasons()))
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
		Long: `A dead letter holds the recipients of one job to whom it was not delivered, for one reason:

  rejected   the Chat API rejected the recipient: unknown, or a member of the project
  refused    the Chat API refused the call, and these recipients are the cause
  expired    expires_at passed before delivery
  exhausted  still failing after --retry-for
  ambiguous  it may have been delivered, and is not retried
  invalid    the job was malformed; its payload is kept`,
		Example: `  chatrelay dead list --since 2h --reason rejected
  chatrelay dead show 4711
  chatrelay dead replay --project 0f8fad5b-d9cb-469f-a165-70867728950e --reason exhausted`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.deadListCommand(), a.deadShowCommand(),
		a.deadReplayCommand(), a.deadDropCommand())
	return cmd
}
