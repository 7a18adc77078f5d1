package main

import (
	"fmt"

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
any time.`,
		Example: `  chatrelay init
  chatrelay init --replicas 3 --max-bytes 8589934592
  chatrelay init --max-queued 100000      # at most that many queued jobs per project and priority`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Replicas < 0 || cfg.Replicas > 5 {
				return usagef("--replicas %d: must be 1 to 5", cfg.Replicas)
			}
			q, err := nats.connect(cmd.Context(), "init")
			if err != nil {
				return err
			}
			defer q.Close()
			changes, err := q.Init(cmd.Context(), cfg)
			if a.output == "json" {
				if err := term.PrintJSON(a.stdout, map[string]any{"streams": changes}); err != nil {
					return err
				}
			} else {
				for _, c := range changes {
					fmt.Fprintf(a.stdout, "%-14s %s\n", c.Stream, c.Did)
				}
			}
			return err
		},
	}
	nats.register(cmd.Flags())
	cmd.Flags().IntVar(&cfg.Replicas, "replicas", 0, "copies of every stream, 3 in production (on three servers); a new stream has 1 if not given")
	cmd.Flags().Int64Var(&cfg.MaxBytes, "max-bytes", 0, "most bytes of each job stream, and of the dead letters; the server must have them to give; a new stream has 1 GiB if not given; -1: no limit")
	cmd.Flags().Int64Var(&cfg.MaxQueued, "max-queued", 0, "most queued jobs of one project in one priority; a new stream has no limit if not given; -1: no limit")
	return cmd
}
