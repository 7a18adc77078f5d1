package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// system is a whole installation: a real nats-server, a scripted Chat API, and worker processes of
// the real program.
type system struct {
	t   *testing.T
	api *chatapitest.Server
	url string // of the nats-server, or of several
	q   *queue.Queue
	dir string

	extra []string // further variables for processes
}

// newSystem is an installation with its streams, for tests that run at the same time as others.
func newSystem(t *testing.T, cfg chatapitest.Config) *system {
	t.Helper()
	t.Parallel() // mostly they wait
	return startSystem(t, cfg)
}

// startSystem is newSystem for tests that need the machine for themselves.
func startSystem(t *testing.T, cfg chatapitest.Config) *system {
	t.Helper()
	s := bareSystem(t, cfg, broker.Config{})
	if _, err := s.q.Init(t.Context(), queue.InitConfig{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// bareSystem has no streams yet.
func bareSystem(t *testing.T, cfg chatapitest.Config, nats broker.Config) *system {
	t.Helper()
	dir := t.TempDir()
	nats.Dir = filepath.Join(dir, "nats")
	return connectSystem(t, cfg, startNATS(t, nats).url, dir)
}

// connectSystem uses a nats-server that runs already.
func connectSystem(t *testing.T, cfg chatapitest.Config, url, dir string) *system {
	t.Helper()
	s := &system{t: t, url: url, dir: dir, api: chatapitest.Start(cfg)}
	t.Cleanup(s.api.Close)
	var err error
	if s.q, err = queue.Connect(t.Context(), queue.Config{URL: url}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.q.Close)
	return s
}

// patience is how long the tests wait for what must happen, however busy the machine is. Only a failing test
// waits for so long.
const patience = 5 * time.Minute

// process is a running chatrelay.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *lockedBuffer
	exited         chan struct{}
	err            error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (s *system) env() []string {
	return append(append(os.Environ(),
		"CHATRELAY_NATS_URL="+s.url, "CHATRELAY_API_URL="+s.api.ChatURL(), "CHATRELAY_TOKEN_URL="+s.api.TokenURL(),
		"CHATRELAY_CLIENT_ID="+chatapitest.DefaultClientID, "CHATRELAY_CLIENT_SECRET="+chatapitest.DefaultClientSecret,
		"CHATRELAY_HTTP_ADDR=127.0.0.1:0", "CHATRELAY_LOG_FORMAT=json"), s.extra...)
}

// start starts the program.
func (s *system) start(args ...string) *process {
	s.t.Helper()
	p := &process{cmd: exec.Command("chatrelay", args...), stdout: &lockedBuffer{}, stderr: &lockedBuffer{}, exited: make(chan struct{})}
	p.cmd.Env = s.env()
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // usually it has ended
		<-p.exited
		if s.t.Failed() {
			s.t.Logf("%s %d said:\n%s", args[0], p.cmd.Process.Pid, tail(p.stderr.String(), 4000))
		}
	})
	return p
}

// worker starts a worker process and returns when it has begun to work.
func (s *system) worker(args ...string) *process {
	s.t.Helper()
	p := s.start(append([]string{"worker"}, args...)...)
	s.eventually(patience, "the worker to start", func() bool {
		select {
		case <-p.exited:
			s.t.Fatalf("the worker ended: %v\n%s", p.err, p.stderr)
		default:
		}
		return strings.Contains(p.stderr.String(), "worker started")
	})
	return p
}

// stop sends a signal and returns the exit code, -1 if the signal ended the process.
func (s *system) stop(p *process, sig os.Signal) int {
	s.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	return s.ended(p)
}

// ended waits for a process to end and returns its exit code.
func (s *system) ended(p *process) int {
	s.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		s.t.Fatalf("%v did not end\n%s", p.cmd.Args, tail(p.stderr.String(), 4000))
	}
	return p.cmd.ProcessState.ExitCode()
}

// calls waits until the API got so many calls.
func (s *system) calls(n int) {
	s.t.Helper()
	s.eventually(patience, fmt.Sprintf("%d calls", n), func() bool { return s.api.Counts().Calls >= n })
}

// drained waits until no job is anywhere but among the dead letters.
func (s *system) drained(timeout time.Duration) {
	s.t.Helper()
	var st queue.Status
	s.eventually(timeout, "all jobs to be settled", func() bool {
		var err error
		st, err = s.q.Status(s.t.Context(), time.Millisecond)
		return err == nil && st.Queued == 0 && st.Held == 0 && st.Scheduled == 0 && st.Due == 0
	})
}

// eventually waits for a condition; only a failing test waits for the timeout.
func (s *system) eventually(timeout time.Duration, what string, condition func() bool) {
	s.t.Helper()
	end := time.Now().Add(timeout)
	for !condition() {
		if time.Now().After(end) {
			st, err := s.q.Status(context.Background(), time.Millisecond)
			s.t.Fatalf("waited %v for %s; status %+v, %v; api %+v", timeout, what, st, err, s.api.Counts())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// hurry lets the jobs of killed workers come back after the shortest wait that is allowed.
func (s *system) hurry() {
	t := s.t
	t.Helper()
	nc, err := nats.Connect(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []string{"NOTIFY_URGENT", "NOTIFY_NORMAL", "NOTIFY_BULK", "NOTIFY_LATER"} {
		c, err := js.Consumer(t.Context(), stream, "worker")
		if err != nil {
			t.Fatal(err)
		}
		cfg := c.CachedInfo().Config
		cfg.AckWait = 10 * time.Second
		if _, err := js.UpdateConsumer(t.Context(), stream, cfg); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *system) letters() []queue.DeadLetter {
	s.t.Helper()
	var all []queue.DeadLetter
	if err := s.q.DeadLetters(s.t.Context(), queue.Filter{}, func(l queue.DeadLetter) bool { all = append(all, l); return true }); err != nil {
		s.t.Fatal(err)
	}
	return all
}

func tail(text string, n int) string {
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}

var sigterm = syscall.SIGTERM
