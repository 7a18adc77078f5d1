package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

// workerTo starts a worker that logs to a pipe, whose other end the test reads, at debug level, and
// returns when it is ready, of which the test hears by HTTP.
func (s *system) workerTo() (p *process, log *os.File, metrics func() string) {
	s.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	p = &process{cmd: exec.Command("chatrelay", "worker", "--http-addr", addr, "--log-level", "debug"), stdout: &lockedBuffer{}, stderr: &lockedBuffer{}, exited: make(chan struct{})}
	p.cmd.Env, p.cmd.Stderr = s.env(), write
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	write.Close()
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // usually it has ended
		<-p.exited
		read.Close()
	})
	get := func(path string) (string, bool) {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			return "", false
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text), resp.StatusCode == http.StatusOK
	}
	s.eventually(patience, "the worker to be ready", func() bool { _, ok := get("/readyz"); return ok })
	return p, read, func() string { text, _ := get("/metrics"); return text }
}

// A worker delivers and stops in order although nobody reads its log: the reader is gone, or there and
// does not read.
func TestNobodyReadsTheLog(t *testing.T) {
	for name, gone := range map[string]bool{"gone": true, "stuck": false} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, chatapitest.Config{})
			p, log, metrics := s.workerTo()
			if gone {
				log.Close()
			}
			const jobs = 1500 // some 200 bytes of log for each; a pipe takes 64 KiB
			l := newLoad("log", jobs, 1, 1, jobs)
			l.publish(s)
			s.drained(patience)
			if n := s.api.Counts().Delivered; n != jobs {
				t.Errorf("%d delivered, want %d", n, jobs)
			}
			if gone {
				s.eventually(patience, "lost lines to be counted", func() bool { return !strings.Contains(metrics(), "chatrelay_log_lines_lost_total 0\n") })
			}
			if code := s.stop(p, sigterm); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			if !gone {
				line, err := bufio.NewReader(log).ReadString('\n')
				if err != nil || !strings.HasPrefix(line, `{"level":`) {
					t.Errorf("the log begins with %q, %v", line, err)
				}
			}
		})
	}
}

// The last lines of a worker that stops arrive.
func TestLastLineIsWritten(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	p := s.worker()
	if code := s.stop(p, sigterm); code != 0 || !strings.Contains(p.stderr.String(), "worker stopped: everything known was recorded") {
		t.Errorf("exit code %d:\n%s", code, p.stderr)
	}
}

// The addresses of API and token server may hold a key in their query: it is sent, and shown nowhere.
func TestKeysInAddressesAreNotShown(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	const key = "hush-hush"
	s.api.Script(chatapitest.Fault{Status: http.StatusBadGateway}, chatapitest.Fault{Break: chatapitest.BreakBefore})
	p := s.worker("--log-level", "debug", "--api-url", s.api.ChatURL()+"?key="+key, "--token-url", s.api.TokenURL()+"?key="+key+"#"+key)
	newLoad("key", 3, 1, 3, 3).publish(s)
	s.drained(patience)
	s.api.Close()
	newLoad("after", 3, 1, 3, 3).publish(s)
	s.eventually(patience, "a closed gate", func() bool { return strings.Contains(p.stderr.String(), "refused") })
	status := s.start("status", "-o", "json")
	s.ended(status)
	if text := status.stdout.String(); !strings.Contains(text, `"detail":"`) || strings.Contains(text, key) {
		t.Errorf("status: %s", text)
	}
	s.stop(p, sigterm)
	if text := p.stderr.String(); !strings.Contains(text, "call "+s.api.ChatURL()+": ") || strings.Contains(text, key) {
		t.Errorf("the log holds the key:\n%s", tail(text, 3000))
	}
}
