//go:build faults

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// In both of these two thousand jobs take about 600 kB, and an eighth of it fits.
const roomForSome = 80_000

// fullStream publishes more than the stream takes.
func fullStream(t *testing.T, f *figures) {
	s := bareSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond}, broker.Config{})
	if p := s.start("init", "--max-bytes", strconv.Itoa(roomForSome)); s.ended(p) != 0 {
		t.Fatalf("chatrelay init: %s%s", p.stdout, p.stderr)
	}
	s.publishTooMuch(f)
}

// fullServer publishes more than the server's storage takes, to streams without a bound.
func fullServer(t *testing.T, f *figures) {
	s := bareSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond}, broker.Config{MaxStore: roomForSome})
	if p := s.start("init", "--max-bytes", "-1"); s.ended(p) != 0 {
		t.Fatalf("chatrelay init: %s%s", p.stdout, p.stderr)
	}
	s.publishTooMuch(f)
}

// publishTooMuch publishes twice: with nobody making room, and then the same again, until a
// worker comes that does.
func (s *system) publishTooMuch(f *figures) {
	s.t.Helper()
	l := newLoad("full", 2000, 1, 10, 2000)
	file := l.write(s)

	p := s.start("publish", "--publish-retry-for", "2s", file)
	code := s.ended(p)
	said, published := p.stderr.String(), publishedCount(s.t, p)
	stored := s.stored()
	f.add("with nobody making room: exit code %d after %s of 2,000 jobs, “%s”", code, term.Thousands(published), firstMatch(said, `the stream is full: [^;\n]*`))
	if code != 1 || published == 0 || uint64(published) != stored || !strings.Contains(said, "the stream is full") || !strings.Contains(said, "run the same again") {
		s.t.Errorf("exit code %d, %d published, %d stored, said:\n%s%s", code, published, stored, p.stdout, tail(said, 2000))
	}

	p = s.start("publish", "--publish-retry-for", "5m", file)
	s.eventually(patience, "publish to wait", func() bool { return strings.Contains(p.stderr.String(), "waiting to publish") })
	s.worker()
	code = s.ended(p)
	f.add("the same again, and then a worker: exit code %d, “%s”", code, firstMatch(p.stdout.String(), `published.*`))
	if code != 0 || publishedCount(s.t, p) != len(l.jobs) {
		s.t.Errorf("exit code %d, said:\n%s%s", code, p.stdout, tail(p.stderr.String(), 2000))
	}
	s.drained(patience)

	p = s.start("publish", file)
	if code := s.ended(p); code != 0 || publishedCount(s.t, p) != len(l.jobs) {
		s.t.Errorf("a third time: exit code %d, said:\n%s%s", code, p.stdout, tail(p.stderr.String(), 2000))
	}
	s.drained(patience)
	got := f.account(s, l)
	stored = s.stored()
	f.add("stored in all, after a third run: %s", term.Thousands(int(stored)))
	if got.repeated > 0 || stored != uint64(len(l.jobs)) {
		s.t.Errorf("%d repeated; %d jobs were stored, want %d", got.repeated, stored, len(l.jobs))
	}
}

// write writes the jobs as `chatrelay publish` reads them.
func (l load) write(s *system) (name string) {
	s.t.Helper()
	name = filepath.Join(s.dir, "jobs.jsonl")
	file, err := os.Create(name)
	if err != nil {
		s.t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	for _, job := range l.jobs {
		line, err := json.Marshal(map[string]any{"id": job.ID, "project_id": job.ProjectID, "message": job.Message, "woven_ids": job.WovenIDs})
		if err != nil {
			s.t.Fatal(err)
		}
		_, _ = w.Write(append(line, '\n')) // Flush returns the error
	}
	if err := w.Flush(); err != nil {
		s.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// stored is how many jobs were ever stored.
func (s *system) stored() uint64 {
	s.t.Helper()
	nc, err := nats.Connect(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := js.Stream(s.t.Context(), queue.JobStream(queue.Normal))
	if err != nil {
		s.t.Fatal(err)
	}
	return stream.CachedInfo().State.LastSeq
}

func publishedCount(t *testing.T, p *process) int {
	t.Helper()
	said := firstMatch(p.stdout.String(), `published (\d+) jobs?`)
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(said, "s"), "published "), " job"))
	if err != nil {
		t.Errorf("publish did not say how many: %q", p.stdout)
	}
	return n
}

func firstMatch(text, pattern string) string {
	return regexp.MustCompile(pattern).FindString(text)
}
