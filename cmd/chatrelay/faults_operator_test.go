//go:build faults

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// fullLetters lets one project's rejected recipients fill the stream of the dead letters.
func fullLetters(t *testing.T, f *figures) {
	s := bareSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond}, broker.Config{})
	if p := s.start("init", "--max-bytes", "2000000"); s.ended(p) != 0 {
		t.Fatalf("chatrelay init: %s%s", p.stdout, p.stderr)
	}
	bad := newLoad("bad", 3000, 1, 1, 3000)
	for i := range bad.jobs {
		bad.jobs[i].Message += strings.Repeat(".", 700)
		s.api.Reject("unknown user", bad.jobs[i].WovenIDs[0])
	}
	s.worker("--concurrency", "8")
	bad.publishPatiently(s)
	s.eventually(patience, "no more letters to fit", func() bool {
		return strings.Contains(s.status(), "cannot write dead letters") || s.api.Counts().Rejected >= len(bad.jobs)
	})
	before := len(s.letters())
	others := newOthers("other", 40, 10)
	delays := others.publishEvery(s, 50*time.Millisecond)
	said := s.status()
	f.add("%d letters fitted; %s while it was full", before, delays.words())
	f.bound(delays.at(.9) < time.Second, "nine tenths of the others' jobs delivered within 1 s")
	if before >= len(bad.jobs) {
		t.Errorf("all %d letters fitted", before)
	}
	if !strings.Contains(said, "cannot write dead letters") {
		t.Errorf("status does not say that letters cannot be written:\n%s", said)
	}
	if p := s.start("init", "--max-bytes", "64000000"); s.ended(p) != 0 {
		t.Fatalf("chatrelay init: %s%s", p.stdout, p.stderr)
	}
	s.drained(patience)
	if got := f.accountBuried(s, len(bad.jobs), bad, others); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	if n := s.api.Counts().Rejected; n != len(bad.jobs) {
		t.Errorf("%d rejections for %d recipients: some were called for again", n, len(bad.jobs))
	}
}

// wipedNATS throws away all that the server stored, under a worker that holds jobs.
func wipedNATS(t *testing.T, f *figures) {
	server := startNATS(t, broker.Config{Name: "nats", Port: freePorts(t, 1)[0], Dir: t.TempDir()})
	s := connectSystem(t, chatapitest.Config{Latency: 500 * time.Millisecond}, server.url, t.TempDir())
	s.init(1)
	worker := s.worker("--concurrency", "4")
	old := newLoad("old", 200, 1, 10, 200)
	old.publish(s)
	s.eventually(patience, "the worker to hold jobs", func() bool {
		b, err := s.q.Backlog(t.Context(), queue.JobStream(queue.Normal))
		return err == nil && b.Held > 100
	})
	l := lifecycle{system: s, server: server, nc: s.connect()}
	var err error
	if l.js, err = jetstream.New(l.nc); err != nil {
		t.Fatal(err)
	}
	server.kill()
	l.startAgain(true)
	s.init(1)
	fresh := newLoad("new", 200, 1, 10, 200) // with the numbers that the old ones had
	began := time.Now()
	fresh.publish(s)
	s.drained(patience)
	f.add("all new jobs settled %.0f s after their publication", time.Since(began).Seconds())
	f.bound(time.Since(began) < time.Minute, "all new jobs settled within a minute")
	if got := f.account(s, fresh); got.repeated > 0 {
		t.Errorf("%d of the new ones repeated", got.repeated)
	}
	if code := s.stop(worker, sigterm); code != 0 {
		t.Errorf("the worker ended with %d", code)
	}
}

// removedConsumer removes the consumer of a stream that two workers take jobs from, and makes it anew.
func removedConsumer(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond})
	for range 2 {
		s.worker("--concurrency", "8")
	}
	js, err := jetstream.New(s.connect())
	if err != nil {
		t.Fatal(err)
	}
	l := newLoad("anew", 6000, 1, 20, 6000)
	l.publish(s)
	s.calls(2000)
	if err := js.DeleteConsumer(t.Context(), queue.JobStream(queue.Normal), queue.ConsumerName); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.init(1)
	calls := s.api.Counts().Calls
	s.calls(calls + 200)
	f.add("200 more calls %.1f s after the removal", time.Since(began).Seconds())
	s.drained(patience)
	got := f.account(s, l)
	if most := 2 * mostInFlight; got.repeated > most {
		t.Errorf("%d repeated, more than the %d that may be in flight or not yet acknowledged", got.repeated, most)
	}
	f.bound(got.repeated <= 2*3*8, "repeated at most the recipients of three times 8 calls of each worker")
}

// overdueSchedules lets deferred jobs come due while the server's storage is full.
func overdueSchedules(t *testing.T, f *figures) {
	const bytes = 3_000_000
	s := bareSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond}, broker.Config{MaxStore: bytes})
	if p := s.start("init", "--max-bytes", "-1"); s.ended(p) != 0 {
		t.Fatalf("chatrelay init: %s%s", p.stdout, p.stderr)
	}
	due := time.Now().Add(15 * time.Second)
	l := newLoad("due", 500, 1, 10, 500)
	for i := range l.jobs {
		l.jobs[i].DeliverAt = due
	}
	s.worker()
	l.publish(s)
	s.eventually(patience, "all of them to wait", func() bool {
		st, err := s.q.Status(t.Context(), time.Millisecond)
		return err == nil && st.Scheduled == uint64(len(l.jobs))
	})
	js, err := jetstream.New(s.connect())
	if err != nil {
		t.Fatal(err)
	}
	rubbish, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "RUBBISH", Subjects: []string{"rubbish"}})
	if err != nil {
		t.Fatal(err)
	}
	for size := 100_000; size > 10; {
		if _, err := js.Publish(t.Context(), "rubbish", make([]byte, size)); err != nil {
			size /= 2
		}
	}
	time.Sleep(time.Until(due.Add(3 * time.Second))) // the scenario's own time
	before := s.api.Counts().Delivered
	if err := rubbish.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	room := time.Now()
	s.eventually(patience, "delivery of what was due", func() bool {
		return !slices.ContainsFunc(l.jobs, func(j queue.Job) bool { return s.api.Delivered(j.ProjectID, j.Message, j.WovenIDs[0]) == 0 })
	})
	f.add("%d delivered while it was full, all %.0f s after there was room", before, time.Since(room).Seconds())
	f.bound(time.Since(room) < 2*time.Minute, "all delivered within two minutes of the room")
	s.drained(patience)
	if got := f.account(s, l); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
}

// connect is a connection of the test's own.
func (s *system) connect() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		s.t.Fatal(fmt.Errorf("connect: %w", err))
	}
	s.t.Cleanup(nc.Close)
	return nc
}
