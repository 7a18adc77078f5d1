package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

func (a *app) initCommand() *cobra.Command {
	var nats natsFlags
	var cfg queue.InitConfig
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create the streams, or check those that exist",
		Long: `Creates the streams NOTIFY_URGENT, NOTIFY_NORMAL, NOTIFY_BULK, NOTIFY_LATER and NOTIFY_DEAD with
their consumers. It checks those that exist: it raises limits to what is asked for and never lowers
one, and it reports, and leaves alone, whatever could lose data if it were changed. It may be run at
any time, and by several at once. Limits that a managed account does not allow it adapts, with a warning.

With --replicas it raises the replicas of one stream after the other, and waits until all are current. At
the start of a cluster it waits for its servers; both for --patience at most.`,
		Example: `  chatrelay init
  chatrelay init --replicas 3 --max-bytes 8589934592
  chatrelay init --max-queued 100000      # at most that many queued jobs per project and priority`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Replicas < 0 || cfg.Replicas > 5 {
				return usagef("--replicas %d: must be 1 to 5", cfg.Replicas)
			}
			if cfg.MaxAckPending != 0 && cfg.MaxAckPending < 1000 {
				return usagef("--max-ack-pending %d: must be 1000 or more", cfg.MaxAckPending)
			}
			if cfg.LaterMaxBytes > 0 && cfg.LaterMaxBytes < 64<<20 {
				return usagef("--later-max-bytes %d: must be 67108864 (64 MiB) or more", cfg.LaterMaxBytes)
			}
			cfg.Progress = func(text string) { fmt.Fprintln(a.stderr, "chatrelay:", text) }
			q, err := nats.connect(cmd.Context(), "init")
			if err != nil {
				return err
			}
			defer q.Close()
			changes, err := q.Init(cmd.Context(), cfg)
			if a.output == "json" {
				if changes == nil {
					changes = []queue.Change{}
				}
				if err := term.PrintJSON(a.stdout, map[string]any{"streams": changes}); err != nil {
					return err
				}
			} else {
				for _, c := range changes {
					fmt.Fprintf(a.stdout, "%-14s %s\n", c.Stream, c.Did)
				}
				for _, c := range changes {
					for _, w := range c.Warnings {
						fmt.Fprintln(a.stdout, "warning:", w)
					}
				}
			}
			return err
		},
	}
	nats.register(cmd.Flags())
	cmd.Flags().IntVar(&cfg.Replicas, "replicas", 0, "copies of every stream, 3 in production (on three servers); a new stream has 1 if not given")
	cmd.Flags().Int64Var(&cfg.MaxBytes, "max-bytes", 0, "most bytes of each job stream, and of the dead letters; the server must have them to give; a new stream has 1 GiB if not given; -1: no limit")
	cmd.Flags().Int64Var(&cfg.LaterMaxBytes, "later-max-bytes", 0, "most bytes of the jobs that wait for a later time, at least 64 MiB; nothing more is deferred beyond half of it; a new stream has no limit if not given, or that of a job stream where the account demands one; -1: no limit")
	cmd.Flags().IntVar(&cfg.MaxAckPending, "max-ack-pending", 0, "most jobs of one stream that all workers together hold, 1000 or more; a new consumer has 200000 if not given, or what the account allows")
	cmd.Flags().DurationVar(&cfg.Patience, "patience", 30*time.Second, "how long to wait for a cluster that is starting, and for the new replicas of each stream")
	cmd.Flags().Int64Var(&cfg.MaxQueued, "max-queued", 0, "most queued jobs of one project in one priority; a new stream has no limit if not given; -1: no limit")
	return cmd
}
