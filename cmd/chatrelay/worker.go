package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/worker"
)

// workerFlags configure a worker and what it talks to.
type workerFlags struct {
	nats       natsFlags
	api        chatapi.Config
	secretFile string
	worker     worker.Config
	httpAddr   string
	logFormat  string
	logLevel   string
}

func (f *workerFlags) register(flags *pflag.FlagSet) {
	f.nats.register(flags)
	f.registerCore(flags)
	flags.StringVar(&f.api.URL, "api-url", chatapi.DefaultURL, "address of the Chat API")
	flags.StringVar(&f.api.TokenURL, "token-url", chatapi.DefaultTokenURL, "where access tokens are issued")
	flags.StringVar(&f.api.ClientID, "client-id", "", "client id of the server side client")
	flags.StringVar(&f.secretFile, "client-secret-file", "", "file with the client secret; or give it in CHATRELAY_CLIENT_SECRET")
	flags.StringVar(&f.httpAddr, "http-addr", ":8080", "where to serve /healthz, /readyz and /metrics")
}

// registerCore registers what `dev` has in common with `worker`.
func (f *workerFlags) registerCore(flags *pflag.FlagSet) {
	flags.IntVar(&f.worker.MaxRecipients, "max-recipients", 500, "recipients of one call")
	flags.DurationVar(&f.worker.Linger, "linger", 20*time.Millisecond, "how long a job waits for others to share its call")
	flags.IntVar(&f.worker.Concurrency, "concurrency", 64, "calls under way at the same time")
	flags.DurationVar(&f.worker.RetryFor, "retry-for", 24*time.Hour, "how long after its publication a job is tried")
	flags.DurationVar(&f.api.Timeout, "call-timeout", 10*time.Second, "bound of one call")
	flags.DurationVar(&f.worker.Grace, "grace", 30*time.Second, "how long to wait for calls under way when stopping")
	flags.StringVar(&f.logFormat, "log-format", "auto", "auto, console or json; auto is console on a terminal, JSON elsewhere")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error; debug shows recipient ids")
}

// check finds what is out of range; in a Config zero would mean the default.
func (f *workerFlags) check() error {
	switch {
	case f.worker.MaxRecipients < 1:
		return usagef("--max-recipients %d: must be 1 or more", f.worker.MaxRecipients)
	case f.worker.Concurrency < 1:
		return usagef("--concurrency %d: must be 1 or more", f.worker.Concurrency)
	case f.worker.Linger < 0:
		return usagef("--linger %v: must not be negative", f.worker.Linger)
	case f.worker.RetryFor <= 0:
		return usagef("--retry-for %v: must be more than zero", f.worker.RetryFor)
	case f.api.Timeout <= 0:
		return usagef("--call-timeout %v: must be more than zero", f.api.Timeout)
	case f.worker.Grace <= 0:
		return usagef("--grace %v: must be more than zero", f.worker.Grace)
	}
	if f.worker.Linger == 0 {
		f.worker.Linger = -1 // in a Config, zero is the default
	}
	f.api.Concurrency = f.worker.Concurrency
	return nil
}

// secret reads the client secret from where it was given.
func (f *workerFlags) secret() (string, error) {
	if f.secretFile == "" {
		return os.Getenv("CHATRELAY_CLIENT_SECRET"), nil
	}
	text, err := os.ReadFile(f.secretFile)
	if err != nil {
		return "", usagef("--client-secret-file: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", usagef("--client-secret-file: %s is empty", f.secretFile)
	}
	return secret, nil
}

func (a *app) workerCommand() *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a worker: take jobs, call the Chat API, settle",
		Long: `Takes jobs, calls the Chat API, and settles every job by what became of its recipients. Run as
many as you like.

SIGTERM or Ctrl-C lets the calls under way finish, gives back what was not started, and ends with 0
when nothing will be repeated. A second signal ends it at once; nothing is lost then either, but
some recipients may be told twice.`,
		Example: `  chatrelay worker --client-id my-client --client-secret-file /run/secrets/client_secret
  CHATRELAY_CLIENT_ID=my-client CHATRELAY_CLIENT_SECRET=… chatrelay worker --concurrency 16`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			log, err := a.newLogger(f.logFormat, f.logLevel)
			if err != nil {
				return err
			}
			if f.api.ClientSecret, err = f.secret(); err != nil {
				return err
			}
			client, err := chatapi.New(f.api)
			if err != nil {
				return usagef("%w (flags: --api-url, --token-url, --client-id, --client-secret-file)", err)
			}
			return a.runWorker(cmd.Context(), f, client, log)
		},
	}
	f.register(cmd.Flags())
	return cmd
}

// natsPatience is how long a starting worker waits for NATS; whoever supervises it starts it again.
const natsPatience = time.Minute

func (a *app) runWorker(ctx context.Context, f workerFlags, client *chatapi.Client, log zerolog.Logger) error {
	var ready atomic.Pointer[error]
	setReady := func(err error) { ready.Store(&err) }
	setReady(errors.New("starting"))

	cfg := f.nats.config("worker")
	cfg.Patience = natsPatience
	cfg.OnConnection = func(err error) {
		if err != nil {
			log.Warn().Err(err).Msg("nats")
		} else {
			log.Info().Msg("nats: connection restored")
		}
	}
	var held atomic.Pointer[queue.Jobs]
	var link atomic.Pointer[queue.Queue]
	m := newMetrics(func() float64 {
		if jobs := held.Load(); jobs != nil {
			return float64(jobs.Held())
		}
		return 0
	}, func() bool { return link.Load() != nil && link.Load().Connected() })
	addr, stopHTTP, err := serveHTTP(f.httpAddr, operations(m, func() error {
		if err := *ready.Load(); err != nil {
			return err
		}
		if !link.Load().Connected() {
			return errors.New("not connected to NATS")
		}
		return nil
	}))
	if err != nil {
		return usageError{err}
	}
	defer stopHTTP()

	q, err := queue.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer q.Close()
	link.Store(q)
	jobs, err := q.Jobs(ctx, queue.JobsConfig{OnError: func(err error) { log.Warn().Err(err).Msg("queue") }})
	if err != nil {
		return err
	}
	defer jobs.Close()
	held.Store(jobs)
	retire, err := q.Announce("1.0.0", identity())
	if err != nil {
		return err
	}
	defer retire()
	go checkToken(ctx, client, log)

	show := f.worker.Hook
	f.worker.Hook = func(e worker.Event) {
		m.event(e)
		logEvent(log, e)
		if show != nil {
			show(e)
		}
	}
	setReady(nil)
	log.Info().Str("api", client.Endpoint()).Str("http", addr).Int("concurrency", f.worker.Concurrency).Msg("worker started")
	context.AfterFunc(ctx, func() {
		setReady(errors.New("stopping"))
		log.Info().Dur("grace_ms", f.worker.Grace).Msg("stopping: waiting for calls under way")
	})
	err = worker.New(f.worker, jobs, client, q).Run(ctx)
	if err == nil {
		log.Info().Msg("worker stopped: everything known was recorded")
	}
	return err
}

// checkToken tells early that the credential does not work; the worker goes on trying.
func checkToken(ctx context.Context, client *chatapi.Client, log zerolog.Logger) {
	if err := client.CheckToken(ctx); err != nil && ctx.Err() == nil {
		log.Error().Str("error", brief(err, false)).Msg("no access token: jobs will wait; check --client-id, the secret and --token-url")
	}
}

// identity is what status shows of this worker.
func identity() map[string]string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return map[string]string{
		"host": host, "pid": strconv.Itoa(os.Getpid()),
		"started": time.Now().UTC().Format(time.RFC3339), "version": fmt.Sprint(version()),
	}
}
