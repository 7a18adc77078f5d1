package main

import (
	"os"
	"strings"
	"syscall"
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
	s.drained(patience)
	if repeats := l.account(s); repeats != 0 {
		t.Errorf("%d recipients were delivered to more than once", repeats)
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

// A worker killed in the midst of its calls loses nothing, and another repeats only what was in flight or not
// yet acknowledged. The scenarios of TestFaults do worse.
func TestKilledWorkerLosesNothing(t *testing.T) {
	const concurrency = 4
	s := newSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond})
	s.hurry()
	s.api.Reject("user not found", "kill-7-0", "kill-390-0")
	l := newLoad("kill", 400, 1, 10, 400) // all distinct: nothing can be put together
	l.publish(s)
	p := s.worker("--concurrency", "4")
	s.calls(100)
	if code := s.stop(p, syscall.SIGKILL); code != -1 {
		t.Errorf("ended with %d before it was killed", code)
	}
	s.worker("--concurrency", "4")
	s.drained(patience)
	most := (1 + 16) * concurrency
	if repeats := l.account(s); repeats > most {
		t.Errorf("%d repeats, more than the %d that may be in flight or not yet acknowledged", repeats, most)
	}
	if n := len(s.letters()); n != 2 {
		t.Errorf("%d letters, want those of the two rejected recipients", n)
	}
}

// A worker that is stopped waits for its call in flight, and records the outcome.
func TestStopWaitsForTheCallInFlight(t *testing.T) {
	s := newSystem(t, chatapitest.Config{Latency: 2 * time.Second})
	s.api.Reject("user not found", "wait-0-1")
	l := newLoad("wait", 1, 2, 1, 1)
	p := s.worker()
	l.publish(s)
	s.eventually(patience, "the call", func() bool { return s.api.Delivered(project(0), l.jobs[0].Message, "wait-0-0") == 1 })
	if code := s.stop(p, sigterm); code != 0 {
		t.Errorf("ended with %d", code)
	}
	s.drained(patience)
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
	p := s.worker("--call-timeout", "1h", "--grace", "1h")
	newLoad("hang", 1, 1, 1, 1).publish(s)
	s.eventually(patience, "the call", func() bool { return s.api.Counts().MaxInFlight > 0 })
	if err := p.cmd.Process.Signal(sigterm); err != nil {
		t.Fatal(err)
	}
	s.eventually(patience, "the worker to stop", func() bool { return strings.Contains(p.stderr.String(), "stopping") })
	if code := s.stop(p, os.Interrupt); code == 0 {
		t.Error("ended with 0 although a call was cut off")
	}
}

// What is no job ends as an invalid letter with its bytes, what is odd but right is delivered, and
// the worker lives through both.
func TestMalformedAndOddJobs(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	p := s.worker()
	nc, err := nats.Connect(s.url)
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
		wanted[payload[:min(len(payload), 64<<10)]]++ // a letter holds no more of it
	}
	odd := []queue.Job{
		{ID: "emoji", ProjectID: id, Message: "☕️👩‍🚀", WovenIDs: []string{"w-😀"}},
		{ID: "control", ProjectID: id, Message: "a\u0001\u001b[31mb\tc\nd", WovenIDs: []string{"w-1"}},
		{ID: "ids", ProjectID: id, Message: "odd ids", WovenIDs: []string{"a.b.c", "two words", "a/b/../c", "*", ">", "\"quoted\""}},
		{ID: "thrice", ProjectID: id, Message: "thrice", WovenIDs: []string{"w-3", "w-3", "w-3"}},
	}
	load{odd}.publish(s)
	s.drained(patience)
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
			if n := s.api.Delivered(job.ProjectID, job.Message, id); n != 1 {
				t.Errorf("job %s was delivered to %q %d times", job.ID, id, n)
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

// A job of another make that expires before it is due is buried at once, under its project.
func TestUndeliverableJob(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	s.worker()
	nc, err := nats.Connect(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	id := project(1)
	payload := `{"project_id":"` + id + `","message":"m","woven_ids":["w"],"deliver_at":"2999-01-02T00:00:00Z","expires_at":"2999-01-01T00:00:00Z"}`
	if err := nc.Publish("notify.jobs.normal."+id, []byte(payload)); err != nil {
		t.Fatal(err)
	}
	s.eventually(patience, "a letter", func() bool { return len(s.letters()) > 0 })
	l := s.letters()[0]
	if l.Reason != queue.Expired || l.ProjectID != id || l.WovenIDs[0] != "w" ||
		l.Failures[0].Detail != "expires_at 2999-01-01T00:00:00Z is not after deliver_at 2999-01-02T00:00:00Z" {
		t.Errorf("letter %+v", l)
	}
	s.drained(patience)
}

// A call that may have been delivered is the last one where that is the policy.
func TestAmbiguousCallIsBuried(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	s.api.Script(chatapitest.Fault{Break: chatapitest.BreakAfter})
	s.worker("--on-ambiguous", "bury")
	l := newLoad("ambiguous", 1, 3, 1, 1)
	l.publish(s)
	s.eventually(patience, "the letter", func() bool { return len(s.letters()) == 1 })
	s.drained(patience)
	if letter := s.letters()[0]; letter.Reason != queue.Ambiguous || len(letter.WovenIDs) != 3 {
		t.Errorf("letter %+v", letter)
	}
	for _, id := range l.jobs[0].WovenIDs {
		if n := s.api.Delivered(l.jobs[0].ProjectID, l.jobs[0].Message, id); n != 1 {
			t.Errorf("%s was delivered to %d times", id, n)
		}
	}
}
