// Package dev runs everything on this machine: NATS, a scripted Chat API, a worker, and sample jobs
// whose recipients are all accounted for.
package dev

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/chatapi/credentials"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/daemon"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
	"github.com/chatrelay/chatrelay/worker"
)

// Config says how [Run] runs.
type Config struct {
	// Dir keeps the state. Empty: a temporary directory that is removed at the end.
	Dir string
	// Port is where NATS listens on loopback; if it is taken, any free one.
	Port int
	// Once ends the run after the sample.
	Once bool

	// API and Worker set up the worker; the addresses and the credential in API, and the Hook in
	// Worker, are set by [Run]. Jobs, HTTP, Log and Version are those of [daemon.Config].
	API     chatapi.Config
	Jobs    queue.JobsConfig
	Worker  worker.Config
	HTTP    net.Listener
	Log     zerolog.Logger
	Version string

	// Out is where is shown what happens. With JSON it gets only the summary, and Err the rest.
	Out, Err io.Writer
	JSON     bool

	syncInterval time.Duration // of the broker; only tests set it
}

// DirError says why [Config.Dir] cannot be used.
type DirError struct{ Err error }

// Error says what is wrong with the directory.
func (e *DirError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *DirError) Unwrap() error { return e.Err }

// Run publishes the sample and shows what becomes of it. Then it ends, if cfg.Once, and otherwise
// with ctx. It returns an error when a recipient of the sample is not accounted for, and a
// [DirError] when cfg.Dir cannot be used.
func Run(ctx context.Context, cfg Config) error {
	dir, leave, err := stateDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer leave()
	port := freePort(cfg.Port)
	nats, err := broker.Start(broker.Config{Port: port, Dir: filepath.Join(dir, "jetstream"), SyncInterval: cfg.syncInterval})
	if err != nil {
		return err
	}
	defer nats.Stop()
	d := &demo{out: cfg.Out, err: cfg.Err, json: cfg.JSON, url: nats.URL(), paused: map[string]bool{}}
	d.api = chatapitest.Start(chatapitest.Config{OnCall: d.call})
	defer d.api.Close()

	q, err := queue.Connect(ctx, queue.Config{URL: nats.URL(), Name: "chatrelay dev"})
	if err != nil {
		return err
	}
	defer q.Close()
	if _, err := q.Init(ctx, queue.InitConfig{MaxBytes: 64 << 20}); err != nil {
		return err
	}
	taken := ""
	if port != cfg.Port {
		taken = fmt.Sprintf(" (%d is taken: give --nats-url to every command)", cfg.Port)
	}
	d.say("NATS with JetStream   %s%s", nats.URL(), taken)
	d.say("scripted Chat API     %s", d.api.ChatURL())
	d.say("health and metrics    http://%s/readyz, /metrics", cfg.HTTP.Addr())
	d.say("state in              %s\n", dir)

	ended, stop, err := d.startWorker(ctx, cfg)
	if err != nil {
		return err
	}
	defer stop() // before the servers that it needs
	missing, err := d.sample(ctx, q, ended)
	if err != nil {
		return err
	}
	if err := d.summary(ctx, q, missing); err != nil || cfg.Once {
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

// stateDir makes dir ready, for this process only, or a temporary directory. leave unlocks the one and
// removes the other.
func stateDir(dir string) (path string, leave func(), err error) {
	if dir == "" {
		temp, err := os.MkdirTemp("", "chatrelay-dev-")
		return temp, func() { _ = os.RemoveAll(temp) }, err // what is left is temporary
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, &DirError{err}
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return "", nil, &DirError{err}
	}
	return dir, unlock, nil
}

// startWorker runs a worker until stop. If it ends before, ended delivers why; whoever receives that
// puts a nil back, for stop.
func (d *demo) startWorker(ctx context.Context, cfg Config) (ended chan error, stop func(), err error) {
	api := cfg.API
	api.URL, api.TokenURL = d.api.ChatURL(), d.api.TokenURL()
	api.ClientID, api.ClientSecret = chatapitest.DefaultClientID, chatapitest.DefaultClientSecret
	clients, err := credentials.New(api, "", "")
	if err != nil {
		return nil, nil, err
	}
	work := cfg.Worker
	work.Hook = d.event
	ctx, cancel := context.WithCancel(ctx)
	ended = make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Config{
			NATS: queue.Config{URL: d.url, Name: "chatrelay worker"}, API: clients, Jobs: cfg.Jobs, Worker: work,
			HTTP: cfg.HTTP, Log: cfg.Log, Version: cfg.Version,
		})
	}()
	return ended, func() {
		cancel()
		if err := <-ended; err != nil {
			d.say("worker: %v", err)
		}
	}, nil
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
