package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

// Two thousand jobs through two workers: each recipient exactly once, in far fewer calls.
func TestTwoWorkersShareTheJobs(t *testing.T) {
	s := newSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond})
	l := newLoad("share", 2000, 1, 10, 7)
	l.publish(s)
	a, b := s.worker(), s.worker()
	s.drained(60 * time.Second)
	if repeats := l.account(s); repeats != 0 {
		t.Errorf("%d recipients were told more than once", repeats)
	}
	counts := s.api.Counts()
	t.Logf("2,000 jobs in %d calls, at most %d at once", counts.Calls, counts.MaxInFlight)
	if counts.Calls > 400 {
		t.Errorf("%d calls for 2,000 jobs of 70 kinds", counts.Calls)
	}
	for _, p := range []*process{a, b} {
		if code := s.stop(p, sigterm); code != 0 {
			t.Errorf("an idle worker ended with %d", code)
		}
	}
}

// Rule 7: a worker killed at any instant loses nothing, and repeats at most what was in flight or
// not yet acknowledged.
func TestKilledWorkersLoseNothing(t *testing.T) {
	s := newSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond})
	hurry(t, s)
	s.api.Reject("user not found", "kill-3-1", "kill-700-0")
	l := newLoad("kill", 3000, 2, 20, 3000) // all distinct: nothing can be put together
	l.publish(s)
	const concurrency = 8
	p := s.worker("--concurrency", "8")
	for n := range 3 {
		s.eventually(30*time.Second, "some calls", func() bool { return s.api.Counts().Calls > 100*(n+1) })
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.exited
		p = s.worker("--concurrency", "8")
	}
	s.drained(120 * time.Second)
	repeats := l.account(s)
	t.Logf("three workers killed: %d of 6,000 recipients told twice", repeats)
	// In flight at each kill: 8 calls of 2, and as many again that were answered and not yet acked.
	if most := 3 * 2 * concurrency * 2; repeats > most {
		t.Errorf("%d repeats, more than the %d in flight or not yet acknowledged", repeats, most)
	}
}

// hurry lets the jobs of killed workers come back after the shortest wait that is allowed.
func hurry(t *testing.T, s *system) {
	t.Helper()
	nc, err := nats.Connect(s.nats.URL())
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

// Rule 7: a worker stopped by SIGTERM repeats nothing, and ends with 0.
func TestStoppedWorkersRepeatNothing(t *testing.T) {
	s := newSystem(t, chatapitest.Config{Latency: 30 * time.Millisecond})
	s.api.Reject("user not found", "stop-5-0", "stop-900-0", "stop-901-0")
	l := newLoad("stop", 3000, 1, 20, 3000)
	l.publish(s)
	p := s.worker("--concurrency", "8")
	for n := range 3 {
		s.eventually(30*time.Second, "some calls", func() bool { return s.api.Counts().Calls > 150*(n+1) })
		next := s.worker("--concurrency", "8")
		if code := s.stop(p, sigterm); code != 0 {
			t.Errorf("a worker stopped under load ended with %d", code)
		}
		p = next
	}
	s.drained(60 * time.Second)
	if repeats := l.account(s); repeats != 0 {
		t.Errorf("%d recipients were told twice", repeats)
	}
}

// Rule 8: a call under way when the worker is stopped is waited for, and its outcome recorded.
func TestStopWaitsForTheCallUnderWay(t *testing.T) {
	s := newSystem(t, chatapitest.Config{Latency: 2 * time.Second})
	s.api.Reject("user not found", "wait-0-1")
	l := newLoad("wait", 1, 2, 1, 1)
	p := s.worker()
	l.publish(s)
	s.eventually(20*time.Second, "the call", func() bool { return s.api.Told(project(0), l.jobs[0].Message, "wait-0-0") == 1 })
	if code := s.stop(p, sigterm); code != 0 {
		t.Errorf("ended with %d", code)
	}
	s.drained(time.Second)
	if repeats := l.account(s); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	if n := len(s.letters()); n != 1 {
		t.Errorf("%d letters, want the rejected recipient's", n)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	s.api.Script(chatapitest.Fault{Break: chatapitest.Hang, Times: -1})
	p := s.worker("--call-timeout", "1m", "--grace", "1m")
	newLoad("hang", 1, 1, 1, 1).publish(s)
	s.eventually(20*time.Second, "the call", func() bool { return s.api.Counts().MaxInFlight > 0 })
	if err := p.cmd.Process.Signal(sigterm); err != nil {
		t.Fatal(err)
	}
	s.eventually(20*time.Second, "the worker to stop", func() bool { return strings.Contains(p.stderr.String(), "stopping") })
	begun := time.Now()
	if code := s.stop(p, os.Interrupt); code == 0 {
		t.Error("ended with 0 although a call was cut off")
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// What is no job ends as an invalid letter with its bytes, what is odd but right is delivered, and
// the worker lives through both.
func TestMalformedAndOddJobs(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	p := s.worker()
	nc, err := nats.Connect(s.nats.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	id := project(1)
	good := func(members string) string { return `{"project_id":"` + id + `",` + members + `}` }
	malformed := map[string]string{
		"binary":          "\x00\xff\xfe\x01\x80",
		"empty":           "",
		"null":            "null",
		"an array":        "[]",
		"a number":        "42",
		"wrong type":      good(`"message":"m","woven_ids":"w"`),
		"wrong element":   good(`"message":"m","woven_ids":["w",7]`),
		"no message":      good(`"woven_ids":["w"]`),
		"no recipients":   good(`"message":"m","woven_ids":[]`),
		"empty recipient": good(`"message":"m","woven_ids":["w",""]`),
		"unknown member":  good(`"message":"m","woven_ids":["w"],"colour":"red"`),
		"duplicate":       good(`"message":"m","message":"n","woven_ids":["w"]`),
		"trailing":        good(`"message":"m","woven_ids":["w"]`) + `{}`,
		"deep":            strings.Repeat("[", 100_000),
		"large":           `{"message":"` + strings.Repeat("x", 1<<20-4096),
		"other project":   `{"project_id":"` + project(2) + `","message":"m","woven_ids":["w"]}`,
		"bad time":        good(`"message":"m","woven_ids":["w"],"expires_at":"tomorrow"`),
		"bad utf-8":       good(`"message":"` + "\xc3\x28" + `","woven_ids":["w"]`),
	}
	wanted := map[string]int{}
	for name, payload := range malformed {
		if _, err := js.Publish(t.Context(), "notify.jobs.normal."+id, []byte(payload)); err != nil {
			t.Fatalf("publish %s: %v", name, err)
		}
		wanted[payload]++
	}
	odd := []queue.Job{
		{ID: "emoji", ProjectID: id, Message: "☕️👩‍🚀", WovenIDs: []string{"w-😀"}},
		{ID: "control", ProjectID: id, Message: "a\u0001\u001b[31mb\tc\nd", WovenIDs: []string{"w-1"}},
		{ID: "ids", ProjectID: id, Message: "odd ids", WovenIDs: []string{"a.b.c", "two words", "a/b/../c", "*", ">", "\"quoted\""}},
		{ID: "thrice", ProjectID: id, Message: "thrice", WovenIDs: []string{"w-3", "w-3", "w-3"}},
	}
	load{odd}.publish(s)
	s.drained(30 * time.Second)
	for _, l := range s.letters() {
		if l.Reason != queue.Invalid || l.ProjectID != queue.UnknownProject || len(l.Failures) != 1 || l.Failures[0].Detail == "" {
			t.Errorf("letter %+v", l)
		}
		wanted[string(l.Raw)]--
	}
	for payload, n := range wanted {
		if n != 0 {
			t.Errorf("%d letters missing for %.60q", n, payload)
		}
	}
	for _, job := range odd {
		for _, id := range job.WovenIDs {
			if told := s.api.Told(job.ProjectID, job.Message, id); told != 1 {
				t.Errorf("job %s told %q %d times", job.ID, id, told)
			}
		}
	}
	if code := s.stop(p, sigterm); code != 0 {
		t.Errorf("the worker ended with %d", code)
	}
	for _, secret := range []string{chatapitest.DefaultClientSecret, "odd ids", "w-😀", "two words"} {
		if strings.Contains(p.stderr.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// A job with more recipients than a call may have is split by publishing its parts.
func TestLargeJob(t *testing.T) {
	s := newSystem(t, chatapitest.Config{MaxRecipients: 100, Latency: 10 * time.Millisecond})
	hurry(t, s)
	l := newLoad("large", 1, 5000, 1, 1)
	if _, err := s.q.Publisher(queue.PublisherConfig{MaxRecipients: 10_000}).Publish(t.Context(), queue.Normal, l.jobs[0]); err != nil {
		t.Fatal(err)
	}
	p := s.worker("--max-recipients", "100", "--concurrency", "2")
	s.eventually(20*time.Second, "some calls", func() bool { return s.api.Counts().Calls > 5 })
	if err := p.cmd.Process.Kill(); err != nil { // in the middle
		t.Fatal(err)
	}
	<-p.exited
	s.worker("--max-recipients", "100", "--concurrency", "2")
	s.drained(60 * time.Second)
	if repeats := l.account(s); repeats > 2*2*100 {
		t.Errorf("%d of 5,000 told twice", repeats)
	}
}

// A token revoked by the server costs one refresh, and nobody is buried for it.
func TestTokenRevoked(t *testing.T) {
	s := newSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond})
	p := s.worker("--concurrency", "16")
	l := newLoad("token", 1000, 1, 5, 1000)
	l.publish(s)
	s.eventually(20*time.Second, "some calls", func() bool { return s.api.Counts().Calls > 100 })
	before := s.api.Counts().TokensIssued
	s.api.RevokeTokens()
	s.drained(60 * time.Second)
	if repeats := l.account(s); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	if n := s.api.Counts().TokensIssued - before; n != 1 {
		t.Errorf("%d refreshes after one revocation", n)
	}
	if n := len(s.letters()); n != 0 {
		t.Errorf("%d buried", n)
	}
	_ = p
}
