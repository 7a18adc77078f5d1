package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/daemon"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
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
publishes some sample jobs, and shows what becomes of them. Nothing else is needed, and nobody real
is told anything.

The scripted Chat API rejects recipients whose id begins with unknown- or member-.`,
		Example: `  chatrelay dev
  chatrelay dev --once                 # for scripts: end after the sample, 0 if all was accounted for
  chatrelay dev --data ./chatrelay-dev # keep the state`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.dev(cmd.Context(), f)
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

func (a *app) dev(ctx context.Context, f devFlags) error {
	dir := f.data
	if dir == "" {
		temp, err := os.MkdirTemp("", "chatrelay-dev-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = temp
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return usagef("--data: %w", err)
	}
	if err := lockDir(dir); err != nil {
		return usagef("--data: %w", err)
	}
	nats, err := broker.Start(broker.Config{Port: freePort(f.port), Dir: filepath.Join(dir, "jetstream")})
	if err != nil {
		return err
	}
	defer nats.Stop()
	d := &demo{app: a, url: nats.URL()}
	d.api = chatapitest.Start(chatapitest.Config{OnCall: d.call})
	defer d.api.Close()
	f.nats = natsFlags{url: nats.URL()}
	f.api.URL, f.api.TokenURL = d.api.ChatURL(), d.api.TokenURL()
	f.api.ClientID, f.api.ClientSecret = chatapitest.DefaultClientID, chatapitest.DefaultClientSecret
	f.worker.Hook = d.event

	q, err := f.nats.connect(ctx, "dev")
	if err != nil {
		return err
	}
	defer q.Close()
	if _, err := q.Init(ctx, queue.InitConfig{MaxBytes: 64 << 20}); err != nil {
		return err
	}
	d.say("NATS with JetStream   %s", nats.URL())
	d.say("scripted Chat API     %s", d.api.ChatURL())
	d.say("state in              %s\n", dir)

	api, err := f.clients()
	if err != nil {
		return err
	}
	log, err := daemon.NewLogger(a.stderr, f.logFormat, f.logLevel)
	if err != nil {
		return usagef("%w (flags: --log-format, --log-level)", err)
	}
	l, err := f.listen()
	if err != nil {
		return err
	}
	// The worker is to stop before the servers that it needs.
	work, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(work, daemon.Config{
			NATS: f.nats.config("worker"), API: api, Worker: f.worker, HTTP: l, Log: log, Version: version(),
		})
	}()
	defer func() {
		stop()
		<-ended
	}()
	missing, err := d.sample(ctx, q, ended)
	if err != nil {
		return err
	}
	if err := d.summary(ctx, q, missing); err != nil || f.once {
		return err
	}
	d.next()
	select {
	case err := <-ended:
		ended <- nil
		return err
	case <-ctx.Done():
		d.say("\nstopping")
		return nil
	}
}

// freePort is the wanted port if it can be had, and otherwise 0, which is any.
func freePort(port int) int {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0
	}
	_ = l.Close()
	return port
}
