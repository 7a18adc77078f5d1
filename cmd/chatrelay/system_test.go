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

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// system is a whole installation: a real nats-server, a scripted Chat API, and worker processes of
// the real program.
type system struct {
	t    *testing.T
	api  *chatapitest.Server
	nats *broker.Server
	q    *queue.Queue
	dir  string
}

func newSystem(t *testing.T, cfg chatapitest.Config) *system {
	t.Helper()
	t.Parallel() // mostly they wait
	s := &system{t: t, dir: t.TempDir()}
	s.api = chatapitest.Start(cfg)
	t.Cleanup(s.api.Close)
	var err error
	if s.nats, err = broker.Start(broker.Config{Dir: filepath.Join(s.dir, "nats")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.nats.Stop)
	if s.q, err = queue.Connect(t.Context(), queue.Config{URL: s.nats.URL()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.q.Close)
	if _, err := s.q.Init(t.Context(), queue.InitConfig{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// process is a running chatrelay.
type process struct {
	cmd    *exec.Cmd
	stderr *lockedBuffer
	exited chan struct{}
	err    error
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
	return append(os.Environ(),
		"CHATRELAY_NATS_URL="+s.nats.URL(), "CHATRELAY_API_URL="+s.api.ChatURL(), "CHATRELAY_TOKEN_URL="+s.api.TokenURL(),
		"CHATRELAY_CLIENT_ID="+chatapitest.DefaultClientID, "CHATRELAY_CLIENT_SECRET="+chatapitest.DefaultClientSecret,
		"CHATRELAY_HTTP_ADDR=127.0.0.1:0", "CHATRELAY_LOG_FORMAT=json")
}

// worker starts a worker process and returns when it has begun to work.
func (s *system) worker(args ...string) *process {
	s.t.Helper()
	p := &process{cmd: exec.Command("chatrelay", append([]string{"worker"}, args...)...), stderr: &lockedBuffer{}, exited: make(chan struct{})}
	p.cmd.Env = s.env()
	p.cmd.Stderr = p.stderr
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
			s.t.Logf("worker %d said:\n%s", p.cmd.Process.Pid, tail(p.stderr.String(), 4000))
		}
	})
	s.eventually(30*time.Second, "the worker to start", func() bool {
		select {
		case <-p.exited:
			s.t.Fatalf("the worker ended: %v\n%s", p.err, p.stderr)
		default:
		}
		return strings.Contains(p.stderr.String(), "worker started")
	})
	return p
}

// stop sends a signal and returns the exit code.
func (s *system) stop(p *process, sig os.Signal) int {
	s.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(60 * time.Second):
		s.t.Fatalf("the worker did not end after %v\n%s", sig, tail(p.stderr.String(), 4000))
	}
	return p.cmd.ProcessState.ExitCode()
}

// drained waits until no job is anywhere but among the dead letters.
func (s *system) drained(timeout time.Duration) {
	s.t.Helper()
	var st queue.Status
	s.eventually(timeout, "all jobs to be settled", func() bool {
		var err error
		st, err = s.q.Status(s.t.Context(), time.Millisecond)
		return err == nil && st.Queued == 0 && st.Held == 0 && st.Waiting == 0 && st.Due == 0
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

func (s *system) letters() []queue.DeadLetter {
	s.t.Helper()
	var all []queue.DeadLetter
	if err := s.q.DeadLetters(s.t.Context(), queue.Filter{}, func(l queue.DeadLetter) bool { all = append(all, l); return true }); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// load is a number of jobs, each with recipients of its own.
type load struct{ jobs []queue.Job }

func project(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func newLoad(prefix string, jobs, recipients, projects, messages int) load {
	var l load
	for i := range jobs {
		job := queue.Job{ID: fmt.Sprintf("%s-%d", prefix, i), ProjectID: project(i % projects), Message: fmt.Sprintf("%s message %d", prefix, i%messages)}
		for r := range recipients {
			job.WovenIDs = append(job.WovenIDs, fmt.Sprintf("%s-%d-%d", prefix, i, r))
		}
		l.jobs = append(l.jobs, job)
	}
	return l
}

func (l load) publish(s *system) {
	s.t.Helper()
	err := s.q.Publisher(queue.PublisherConfig{}).PublishAll(s.t.Context(), func(yield func(queue.Priority, queue.Job) bool) {
		for _, job := range l.jobs {
			if !yield(queue.Normal, job) {
				return
			}
		}
	}, func(r queue.Receipt, err error) {
		if err != nil {
			s.t.Errorf("publish %s: %v", r.JobID, err)
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// account demands that every recipient was told or dead-lettered, and returns how often somebody
// was told who had been told, or dead-lettered, already.
func (l load) account(s *system) (repeats int) {
	s.t.Helper()
	dead := map[string]bool{}
	for _, letter := range s.letters() {
		for _, id := range letter.WovenIDs {
			dead[letter.JobID+" "+id] = true
		}
	}
	lost := 0
	for _, job := range l.jobs {
		for _, id := range job.WovenIDs {
			told := s.api.Told(job.ProjectID, job.Message, id)
			if dead[job.ID+" "+id] {
				told++
			}
			switch {
			case told == 0:
				lost++
			default:
				repeats += told - 1
			}
		}
	}
	if lost > 0 {
		s.t.Errorf("%d recipients were neither told nor dead-lettered", lost)
	}
	if n := s.api.Counts().DuplicateInCall; n > 0 {
		s.t.Errorf("%d recipients stood twice in one call", n)
	}
	return repeats
}

func tail(text string, n int) string {
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}

var sigterm = syscall.SIGTERM
