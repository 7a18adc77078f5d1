package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// publishFlags are what publish is asked to do.
type publishFlags struct {
	nats                natsFlags
	priority            string
	job                 queue.Job
	deliverAt, expireAt string
	retryFor            time.Duration
}

func (a *app) publishCommand() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish [FILE | -]...",
		Short: "Publish one job from flags, or many from JSON Lines",
		Long: `Publishes one job made from flags, or one job per line of each file (- is standard input). A line
is a job in JSON:

  {"id": "order-8731-ready", "project_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
   "message": "Your coffee is ready.", "woven_ids": ["w-1", "w-2"],
   "deliver_at": "2026-11-23T09:00:00Z", "expires_at": "2026-11-23T10:00:00Z"}

id, deliver_at and expires_at are optional. A file may be packed by gzip. Each bad line is reported with
its number, and the good lines are still published. Publishing the same input again within ten minutes
stores nothing twice: a job is recognized by its id and content, a line without an id by its content; the same
id with another text, other recipients or other times is another job. What was published with another priority
is refused. (A job made from flags without --id is a new job each time.)`,
		Example: `  chatrelay publish --project 0f8fad5b-d9cb-469f-a165-70867728950e --message "Your coffee is ready." --to w-1 --to w-2
  chatrelay publish --priority bulk festival.jsonl
  generate-jobs | chatrelay publish -`,
		RunE: func(cmd *cobra.Command, files []string) error {
			priority, err := queue.ParsePriority(f.priority)
			if err != nil {
				return usageError{err}
			}
			if cmd.Flags().Changed("max-recipients") { // cobra's own warning would go to standard output, among the JSON
				fmt.Fprintln(a.stderr, "--max-recipients is deprecated and has no effect: workers split jobs")
			}
			single := f.job.ProjectID != "" || f.job.Message != "" || len(f.job.WovenIDs) > 0
			switch {
			case len(files) > 0 && (f.job.ID != "" || f.deliverAt != "" || f.expireAt != ""):
				return usagef("--id, --deliver-at and --expires-at are for one job made from flags; in files, each line has its own")
			case single && len(files) > 0:
				return usagef("give either one job by --project, --message and --to, or files with jobs")
			case !single && len(files) == 0:
				return usagef("nothing to publish: give --project, --message and --to, or a file with one job per line (- is standard input)")
			case single:
				return a.publishOne(cmd.Context(), f, priority)
			}
			return a.publishFiles(cmd.Context(), f, priority, files)
		},
	}
	f.nats.register(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.priority, "priority", string(queue.Normal), "urgent, normal or bulk")
	flags.StringVar(&f.job.ProjectID, "project", "", "project id of the job, a UUID")
	flags.StringVar(&f.job.Message, "message", "", "message text of the job")
	flags.StringArrayVar(&f.job.WovenIDs, "to", nil, "a recipient's woven id; may be repeated")
	flags.StringVar(&f.job.ID, "id", "", "id of the job; generated if not given")
	flags.StringVar(&f.deliverAt, "deliver-at", "", "deliver nothing before this time (RFC 3339), or this duration from now, such as 90m or 2d")
	flags.StringVar(&f.expireAt, "expires-at", "", "deliver nothing after this time (RFC 3339), or this duration from now, such as 90m or 2d")
	flags.Int("max-recipients", 0, "no effect") // scripts give it still
	_ = flags.MarkHidden("max-recipients")
	flags.DurationVar(&f.retryFor, "publish-retry-for", 30*time.Second, "how long to retry while the stream is full or NATS cannot be reached")
	_ = cmd.RegisterFlagCompletionFunc("priority", complete(queue.Priorities()))
	return cmd
}

func (a *app) publisher(q *queue.Queue, f publishFlags) *queue.Publisher {
	var reported time.Time
	return q.Publisher(queue.PublisherConfig{
		RetryFor: f.retryFor,
		OnRetry: func(err error) {
			if time.Since(reported) > 5*time.Second {
				reported = time.Now()
				fmt.Fprintf(a.stderr, "waiting to publish: %s\n", term.Plain(withAdvice(err)))
			}
		},
	})
}

func (a *app) publishOne(ctx context.Context, f publishFlags, priority queue.Priority) error {
	var err error
	if f.job.DeliverAt, err = parseTime(f.deliverAt, 1); err != nil {
		return usagef("--deliver-at: %w", err)
	}
	if f.job.ExpiresAt, err = parseTime(f.expireAt, 1); err != nil {
		return usagef("--expires-at: %w", err)
	}
	if err := f.job.Validate(); err != nil {
		return usagef("%w (flags: --project, --message, --to, --id, --deliver-at, --expires-at)", err)
	}
	q, err := f.nats.connect(ctx, "publish")
	if err != nil {
		return err
	}
	defer q.Close()
	receipt, err := a.publisher(q, f).Publish(ctx, priority, f.job)
	if err != nil {
		return a.reportUnpublished(f, receipt, err)
	}
	if a.output == "json" {
		return term.PrintJSON(a.stdout, receipt)
	}
	switch {
	case receipt.Duplicate:
		fmt.Fprintf(a.stdout, "job %s was published already; nothing new\n", receipt.JobID)
	case receipt.Parts > 1:
		fmt.Fprintf(a.stdout, "published job %s in %d parts\n", receipt.JobID, receipt.Parts)
	default:
		fmt.Fprintf(a.stdout, "published job %s\n", receipt.JobID)
	}
	return nil
}

// reportUnpublished says why a job was not published, and how to repeat it if it may have been stored all
// the same. Times given as durations are repeated as the times that they meant: with others it would be another job.
func (a *app) reportUnpublished(f publishFlags, receipt queue.Receipt, err error) error {
	uncertain := errors.Is(err, queue.ErrUncertain)
	if a.output == "json" {
		failed := struct {
			JobID     string `json:"job_id"`
			Error     string `json:"error"`
			Uncertain bool   `json:"uncertain"`
		}{receipt.JobID, withAdvice(err), uncertain}
		if err := term.PrintJSON(a.stdout, failed); err != nil {
			return err
		}
	}
	if !uncertain {
		return fmt.Errorf("%w; nothing was stored", err)
	}
	again := "--id " + receipt.JobID
	if !f.job.DeliverAt.IsZero() {
		again += " --deliver-at " + f.job.DeliverAt.Format(time.RFC3339Nano)
	}
	if !f.job.ExpiresAt.IsZero() {
		again += " --expires-at " + f.job.ExpiresAt.Format(time.RFC3339Nano)
	}
	return fmt.Errorf("%w; to try again within ten minutes without delivering twice, give %s", err, again)
}
