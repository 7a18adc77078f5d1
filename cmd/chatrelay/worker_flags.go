package main

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/chatapi/credentials"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/daemon"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/worker"
)

// workerFlags configure a worker and what it talks to.
type workerFlags struct {
	nats            natsFlags
	api             chatapi.Config
	secretFile      string
	credentialsFile string
	worker          worker.Config
	jobs            queue.JobsConfig
	ambiguous       string
	httpAddr        string
	logFormat       string
	logLevel        string
}

func (f *workerFlags) register(flags *pflag.FlagSet) {
	f.nats.register(flags)
	f.registerCore(flags)
	flags.StringVar(&f.api.URL, "api-url", chatapi.DefaultURL, "address of the Chat API; https, unless the host is loopback")
	flags.StringVar(&f.api.TokenURL, "token-url", chatapi.DefaultTokenURL, "where access tokens are issued")
	flags.StringVar(&f.api.ClientID, "client-id", "", "client id of the project's server-side client; this or --credentials-file is required")
	flags.StringVar(&f.secretFile, "client-secret-file", "", "file with the client secret, read again when it changes and on SIGHUP; or give the secret itself in CHATRELAY_CLIENT_SECRET")
	flags.StringVar(&f.credentialsFile, "credentials-file", "", "YAML file with a client_id and a client_secret_file for each project id; read again when it changes and on SIGHUP")
	flags.StringVar(&f.httpAddr, "http-addr", ":8080", "where to serve /healthz, /readyz and /metrics")
}

// registerCore registers what `dev` has in common with `worker`.
func (f *workerFlags) registerCore(flags *pflag.FlagSet) {
	flags.IntVar(&f.worker.MaxRecipients, "max-recipients", 500, "most recipients of one call")
	flags.DurationVar(&f.worker.Linger, "linger", 20*time.Millisecond, "how long a job waits for others that can share its call")
	flags.IntVar(&f.worker.Concurrency, "concurrency", 64, "most calls in flight; the worker allows fewer while the API shows overload")
	flags.DurationVar(&f.worker.RetryFor, "retry-for", 24*time.Hour, "how long a job is tried, counted from its publication or its deliver_at")
	flags.IntVar(&f.worker.MaxAmbiguous, "max-ambiguous", 5, "how often a recipient is called for, on account of one job, by calls that fail and may have been delivered all the same; then a dead letter says so")
	flags.StringVar(&f.ambiguous, "on-ambiguous", "retry", "after the first such call: retry it, or bury its recipients in a dead letter, as --max-ambiguous 1 does")
	flags.Float64Var(&f.worker.CallsPerSecond, "calls-per-second", 0, "most calls per second, of this worker; 0: no limit")
	flags.Float64Var(&f.worker.RecipientsPerSecond, "recipients-per-second", 0, "most recipients per second, of this worker; 0: no limit")
	flags.Float64Var(&f.worker.ProjectCallsPerSecond, "project-calls-per-second", 0, "most calls per second for each project; 0: no limit")
	flags.Float64Var(&f.worker.ProjectRecipientsPerSecond, "project-recipients-per-second", 0, "most recipients per second, for each project; 0: no limit")
	flags.DurationVar(&f.api.Timeout, "call-timeout", 10*time.Second, "how long one call may take")
	flags.DurationVar(&f.worker.MaxRetryAfter, "max-retry-after", time.Hour, "longest wait that the worker accepts from the Retry-After of the API and its token server")
	flags.DurationVar(&f.worker.Grace, "grace", 30*time.Second, "how long a stopping worker waits for calls in flight")
	flags.IntVar(&f.jobs.WindowBytes, "window-bytes", 256<<20, "most memory, in bytes, of the jobs that are held at a time; each of the four streams may take a quarter")
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
	case f.worker.MaxAmbiguous < 1:
		return usagef("--max-ambiguous %d: must be 1 or more", f.worker.MaxAmbiguous)
	case f.worker.MaxRetryAfter <= 0:
		return usagef("--max-retry-after %v: must be more than zero", f.worker.MaxRetryAfter)
	case f.jobs.WindowBytes < 1<<20:
		return usagef("--window-bytes %d: must be 1048576 or more", f.jobs.WindowBytes)
	case f.worker.Grace <= 0:
		return usagef("--grace %v: must be more than zero", f.worker.Grace)
	}
	for name, rate := range map[string]float64{
		"calls-per-second": f.worker.CallsPerSecond, "recipients-per-second": f.worker.RecipientsPerSecond,
		"project-calls-per-second": f.worker.ProjectCallsPerSecond, "project-recipients-per-second": f.worker.ProjectRecipientsPerSecond,
	} {
		if rate < 0 || rate > 1e6 || (rate > 0 && rate < 1e-3) {
			return usagef("--%s %v: must be 0, or 0.001 to 1000000", name, rate)
		}
	}
	if f.ambiguous != "retry" && f.ambiguous != "bury" {
		return usagef("--on-ambiguous %q is neither retry nor bury", f.ambiguous)
	}
	if f.ambiguous == "bury" {
		f.worker.MaxAmbiguous = 1
	}
	if f.worker.Linger == 0 {
		f.worker.Linger = -1 // in a Config, zero is the default
	}
	f.api.Concurrency, f.api.MaxRetryAfter = f.worker.Concurrency, f.worker.MaxRetryAfter
	return nil
}

// logger is the worker's; its errors name the flags.
func (f *workerFlags) logger(w io.Writer) (zerolog.Logger, error) {
	log, err := daemon.NewLogger(w, f.logFormat, f.logLevel)
	if err != nil {
		return log, usagef("%w (flags: --log-format, --log-level)", err)
	}
	return log, nil
}

// readCredential checks the client id and reads its secret from where it was given.
func (f *workerFlags) readCredential() (err error) {
	if f.api.ClientID == "" {
		return nil // a secret without it is of no use
	}
	if err := credentials.CheckClientID(f.api.ClientID); err != nil {
		return usagef("--client-id or CHATRELAY_CLIENT_ID: %w", err)
	}
	if f.secretFile != "" {
		f.api.ClientSecret, err = readSecret(f.secretFile)
		return err
	}
	secret := os.Getenv("CHATRELAY_CLIENT_SECRET")
	if secret == "" {
		return nil
	}
	if f.api.ClientSecret, err = credentials.CleanSecret([]byte(secret)); err != nil {
		return usagef("CHATRELAY_CLIENT_SECRET: %w", err)
	}
	return nil
}

// readSecret reads the file that --client-secret-file names.
func readSecret(file string) (string, error) {
	secret, err := credentials.ReadSecret(file)
	if err != nil {
		return "", usagef("--client-secret-file: %w", err)
	}
	return secret, nil
}

// clients makes those that call the Chat API; its errors name the flags.
func (f *workerFlags) clients() (*credentials.Clients, error) {
	api, err := credentials.New(f.api, f.credentialsFile, f.secretFile)
	_, inFile := errors.AsType[*credentials.FileError](err)
	switch {
	case errors.Is(err, credentials.ErrNone):
		return nil, usagef("no credential: give --client-id and --client-secret-file, or --credentials-file")
	case inFile:
		return nil, usagef("--credentials-file: %w", err)
	case err != nil:
		return nil, usagef("%w (flags: --api-url, --token-url, --client-id, --client-secret-file)", err)
	}
	return api, nil
}

// listen listens on the address that a flag gives.
func listen(flag, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, usagef("--%s: %w", flag, err)
	}
	return l, nil
}
