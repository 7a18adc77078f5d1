//go:build faults

package main

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue/broker"
)

func init() {
	faults = append(faults, fault{
		name: "full_disk",
		did: "`chatrelay publish` of 2,000 jobs with a worker beside it, to a nats-server whose disk takes 40 kB for each file (a limit of the operating system); " +
			"then the limit is lifted, and then the server is restarted and the same published again",
		demanded: "`status` names the stream that cannot be written and says what to do, also when there is room again, until the restart; nothing lost or buried",
		run:      fullDisk,
	})
}

// fullDisk lets every write behind the first part of a file fail, as a full disk does.
func fullDisk(t *testing.T, f *figures) {
	server := startNATS(t, broker.Config{Name: "nats", Port: freePorts(t, 1)[0], Dir: t.TempDir()})
	s := connectSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond}, server.url, t.TempDir())
	s.init(1)
	s.hurry()
	s.worker()
	l := newLoad("disk", 2000, 1, 10, 2000)
	file := l.write(s)
	server.fileSizes(t, 40_000)

	p := s.start("publish", "--publish-retry-for", "2s", file)
	code := s.ended(p)
	f.add("full: publish ended with %d after %d jobs", code, publishedCount(t, p))
	if code != 1 {
		t.Errorf("exit code %d, said:\n%s%s", code, p.stdout, tail(p.stderr.String(), 2000))
	}
	const told = "NOTIFY_NORMAL      NATS cannot write to it (file too large): make room, then restart nats-server"
	if said := s.status(); !strings.Contains(said, told) {
		t.Errorf("status with a full disk:\n%s", said)
	}
	server.fileSizes(t, unix.RLIM_INFINITY)
	if said := s.status(); !strings.Contains(said, told) {
		t.Errorf("status when there is room again, but the server does not try:\n%s", said)
	}
	server.kill()
	if err := server.start(); err != nil {
		t.Fatal(err)
	}
	s.eventually(patience, "status to say that all is well", func() bool { return !strings.Contains(s.status(), "NATS cannot write") })
	p = s.start("publish", file)
	if code := s.ended(p); code != 0 {
		t.Errorf("after the restart: exit code %d, said:\n%s%s", code, p.stdout, tail(p.stderr.String(), 2000))
	}
	s.drained(patience)
	got := f.account(s, l)
	f.add("%d repeated because the server could not write down what was acknowledged", got.repeated)
}

// status is what the command says.
func (s *system) status() string {
	p := s.start("status")
	s.ended(p)
	return p.stdout.String() + p.stderr.String()
}

// fileSizes limits how large the server's files may become, in bytes.
func (n *natsServer) fileSizes(t *testing.T, limit uint64) {
	t.Helper()
	var old unix.Rlimit
	err := unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &old)
	if err == nil {
		err = unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: old.Max}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}
