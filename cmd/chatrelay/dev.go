package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/dev"
)

// devFlags configure a run of everything on this machine.
type devFlags struct {
	workerFlags
	data string
	port int
	once bool
}

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: NATS, a scripted Chat API, a worker, and sample jobs",
		Long: `Runs NATS with JetStream, a Chat API that follows the documented one, and a worker in one process,
publishes some sample jobs, and shows what becomes of them. Nothing else is needed, and no real
person gets a message.

The scripted Chat API rejects recipients whose id begins with unknown- or member-.`,
		Example: `  chatrelay dev
  chatrelay dev --once                 # for scripts: end after the sample, 0 if all was accounted for
  chatrelay dev --data ./chatrelay-dev # keep the state`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			log, err := f.logger(a.stderr)
			if err != nil {
				return err
			}
			l, err := listen("http-addr", f.httpAddr)
			if err != nil {
				return err
			}
			err = dev.Run(cmd.Context(), dev.Config{
				Dir: f.data, Port: f.port, Once: f.once,
				API: f.api, Jobs: f.jobs, Worker: f.worker, HTTP: l, Log: log, Version: version(),
				Out: a.stdout, Err: a.stderr, JSON: a.output == "json",
			})
			if _, ok := errors.AsType[*dev.DirError](err); ok {
				return usagef("--data: %w", err)
			}
			return err
		},
	}
	f.registerCore(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "directory that keeps the state; without it, a temporary one that is removed at the end")
	flags.IntVar(&f.port, "nats-port", 4222, "where NATS listens on loopback; if that is taken, at any free port")
	flags.BoolVar(&f.once, "once", false, "end after the sample")
	flags.StringVar(&f.httpAddr, "http-addr", "127.0.0.1:0", "where to serve /healthz, /readyz and /metrics; port 0: any free one")
	flags.Lookup("log-level").DefValue, f.logLevel = "error", "error"
	cmd.AddCommand(a.devAPICommand())
	return cmd
}
