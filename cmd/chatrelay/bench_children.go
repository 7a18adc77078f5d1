package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/bareloop"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// child is a process of this very program that takes part in a measurement.
type child struct {
	name  string
	log   string // file with what it says on stderr
	cmd   *exec.Cmd
	lines *bufio.Reader // what it says on stdout
	ended chan struct{}
	err   error // how it ended
}

// startChild starts the program with other arguments. It ends with ctx, or when its standard input
// does, which is when this process is gone.
func startChild(ctx context.Context, dir, name string, env []string, args ...string) (*child, error) {
	self, err := exec.LookPath(os.Args[0])
	if err != nil {
		if self, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	c := &child{name: name, log: filepath.Join(dir, name+".log"), cmd: exec.CommandContext(ctx, self, args...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = 10 * time.Second
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd.Stderr = log
	// Pipes of our own: Wait would close those of exec before all was read.
	in, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	outRead, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c.cmd.Stdin, c.cmd.Stdout, c.lines = in, out, bufio.NewReader(outRead)
	if err := c.cmd.Start(); err != nil {
		_, _ = inWrite.Close(), outRead.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		_, _ = inWrite.Close(), outRead.Close()
		close(c.ended)
	}()
	return c, nil
}

// ready reads the line of JSON by which a child says that it is.
func (c *child) ready(into any) error {
	line, err := c.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, into)
	}
	if err != nil {
		return fmt.Errorf("%s did not start: %w%s", c.name, err, c.said())
	}
	return nil
}

// stop asks the child to end, and waits for it.
func (c *child) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
	if c.err != nil {
		return fmt.Errorf("%s ended: %w%s", c.name, c.err, c.said())
	}
	return nil
}

// said is the end of what the child said on stderr.
func (c *child) said() string {
	text, err := os.ReadFile(c.log)
	if err != nil || len(text) == 0 {
		return ""
	}
	return "; it said:\n" + string(text[max(0, len(text)-2000):])
}

// cpu is how long the child has kept processors busy, in seconds, and memory its largest resident
// set, in bytes. Both are zero where there is no /proc.
func (c *child) usage() (cpu float64, peak, now uint64) {
	proc, err := procfs.NewProc(c.cmd.Process.Pid)
	if err != nil {
		return 0, 0, 0
	}
	if stat, err := proc.Stat(); err == nil {
		cpu = stat.CPUTime()
	}
	if status, err := proc.NewStatus(); err == nil {
		peak, now = status.VmHWM, status.VmRSS
	}
	return cpu, peak, now
}

// childCommand is a part of a measurement, for which it runs until its standard input ends.
func (a *app) childCommand(use string, run func(context.Context) error) *cobra.Command {
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

// brokerReady is what the broker says of itself.
type brokerReady struct {
	URL string `json:"url"`
}

func (a *app) benchBrokerCommand() *cobra.Command {
	var dir string
	cmd := a.childCommand("broker", func(ctx context.Context) error {
		b, err := broker.Start(broker.Config{Dir: dir})
		if err != nil {
			return err
		}
		defer b.Stop()
		if err := term.PrintJSON(a.stdout, brokerReady{b.URL()}); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	cmd.Flags().StringVar(&dir, "dir", "", "directory of the state")
	return cmd
}

// apiReady is what the Chat API says of itself.
type apiReady struct {
	Chat    string `json:"chat"`
	Token   string `json:"token"`
	Records string `json:"records"`
}

func (a *app) benchAPICommand() *cobra.Command {
	w := workload{}
	cmd := a.childCommand("api", func(ctx context.Context) error {
		t := newTally(w)
		api := chatapitest.New(chatapitest.Config{Latency: w.latency, Forget: true, OnCall: t.call, TokenLifetime: time.Hour})
		mux := http.NewServeMux()
		mux.Handle("/", api)
		mux.Handle("GET /_/", http.StripPrefix("/_", t.records(api)))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
		context.AfterFunc(ctx, func() { _ = s.Close() })
		base := "http://" + l.Addr().String()
		if err := term.PrintJSON(a.stdout, apiReady{base + chatapitest.ChatPath, base + chatapitest.TokenPath, base + "/_/"}); err != nil {
			return err
		}
		_ = s.Serve(l) // until it is closed
		return nil
	})
	flags := cmd.Flags()
	flags.IntVar(&w.jobs, "jobs", 0, "")
	flags.IntVar(&w.recipients, "recipients", 0, "")
	flags.IntVar(&w.projects, "projects", 0, "")
	flags.IntVar(&w.messages, "messages", 0, "")
	flags.DurationVar(&w.latency, "latency", 0, "")
	flags.BoolVar(&w.timed, "timed", false, "")
	return cmd
}

func (a *app) benchBareCommand() *cobra.Command {
	cfg := bareloop.Config{Stream: queue.JobStream(queue.Normal), Consumer: queue.ConsumerName}
	var tokenURL string
	cmd := a.childCommand("bare", func(ctx context.Context) error {
		var err error
		if cfg.Token, err = benchToken(ctx, tokenURL); err != nil {
			return err
		}
		return bareloop.Run(ctx, cfg)
	})
	flags := cmd.Flags()
	flags.StringVar(&cfg.NATSURL, "nats-url", "", "")
	flags.StringVar(&cfg.Creds, "nats-creds", "", "")
	flags.StringVar(&cfg.ChatURL, "api-url", "", "")
	flags.StringVar(&tokenURL, "token-url", "", "")
	flags.IntVar(&cfg.MaxRecipients, "max-recipients", 0, "")
	flags.IntVar(&cfg.Concurrency, "concurrency", 0, "")
	return cmd
}
