package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/daemon"
)

func (a *app) workerCommand() *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a worker: take jobs, call the Chat API, settle",
		Long: `Takes jobs, calls the Chat API, and settles each job: it is acknowledged when every recipient is
delivered or in a dead letter. Run as many workers as you like.

After SIGTERM or Ctrl-C the worker lets the calls in flight finish, gives back the jobs that it has not
started, and exits with 0 if nothing will be repeated. A second signal ends it at once; nothing is lost
then either, but some recipients may get a message twice.

With --credentials-file every project has a credential of its own; SIGHUP makes the worker read it and
all secret files again at once. Projects that it does not name use --client-id, if that is given.`,
		Example: `  chatrelay worker --client-id my-client --client-secret-file /run/secrets/client_secret
  CHATRELAY_CLIENT_ID=my-client CHATRELAY_CLIENT_SECRET=… chatrelay worker --concurrency 16
  chatrelay worker --credentials-file /etc/chatrelay/credentials.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			out := daemon.NewLogWriter(a.stderr)
			a.stderr, a.flush = out, out.Close // for what is said at the end as well
			log, err := f.logger(out)
			if err != nil {
				return err
			}
			if err := f.readCredential(); err != nil {
				return err
			}
			api, err := f.clients()
			if err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			l, err := listen("http-addr", f.httpAddr)
			if err != nil {
				return err
			}
			return daemon.Run(cmd.Context(), daemon.Config{
				NATS: f.nats.config("worker"), API: api, Jobs: f.jobs, Worker: f.worker, Reload: hangup, HTTP: l, Log: log, LogLost: out.Lost, Explain: withAdvice, Version: version(),
			})
		},
	}
	f.register(cmd.Flags())
	return cmd
}
