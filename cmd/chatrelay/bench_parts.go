package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench/bareloop"
	"github.com/chatrelay/chatrelay/queue"
)

// partCommand is a child process of a measurement. It runs until its standard input ends, which it
// does with the process that measures, however that ends.
func (a *app) partCommand(use string, run func(context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: "A part of a measurement", Example: "  chatrelay bench", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.whileInput(cmd.Context())
			defer cancel()
			return run(ctx)
		},
	}
}

// whileInput ends when the standard input does.
func (a *app) whileInput(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, a.stdin)
		cancel()
	}()
	return ctx, cancel
}

// benchWorkerCommand is the command worker itself, with its flags, that ends with the measurement.
func (a *app) benchWorkerCommand() *cobra.Command {
	cmd := a.workerCommand()
	cmd.Hidden = true
	work := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.whileInput(cmd.Context())
		defer cancel()
		cmd.SetContext(ctx)
		return work(cmd, args)
	}
	return cmd
}

func (a *app) benchBrokerCommand() *cobra.Command {
	var dir string
	cmd := a.partCommand("broker", func(ctx context.Context) error { return bench.RunBroker(ctx, dir, a.stdout) })
	cmd.Flags().StringVar(&dir, "dir", "", "directory of the state")
	return cmd
}

func (a *app) benchAPICommand() *cobra.Command {
	var w bench.Workload
	cmd := a.partCommand("api", func(ctx context.Context) error { return bench.RunAPI(ctx, w, a.stdout) })
	flags := cmd.Flags()
	flags.IntVar(&w.Jobs, "jobs", 0, "")
	flags.IntVar(&w.Recipients, "recipients", 0, "")
	flags.IntVar(&w.Projects, "projects", 0, "")
	flags.IntVar(&w.Messages, "messages", 0, "")
	flags.DurationVar(&w.Latency, "latency", 0, "")
	flags.BoolVar(&w.Timed, "timed", false, "")
	return cmd
}

func (a *app) benchBareCommand() *cobra.Command {
	cfg := bareloop.Config{Stream: queue.JobStream(queue.Normal), Consumer: queue.ConsumerName}
	var tokenURL string
	cmd := a.partCommand("bare", func(ctx context.Context) error { return bench.RunBare(ctx, cfg, tokenURL) })
	flags := cmd.Flags()
	flags.StringVar(&cfg.NATSURL, "nats-url", "", "")
	flags.StringVar(&cfg.Creds, "nats-creds", "", "")
	flags.StringVar(&cfg.ChatURL, "api-url", "", "")
	flags.StringVar(&tokenURL, "token-url", "", "")
	flags.IntVar(&cfg.MaxRecipients, "max-recipients", 0, "")
	flags.IntVar(&cfg.Concurrency, "concurrency", 0, "")
	return cmd
}
