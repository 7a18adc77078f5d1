//go:build faults

package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// killedWorkers shows that a worker killed at any instant loses nothing, and repeats at most
// what was in flight or not yet acknowledged. A worker begins the next call while the acks of the last
// ones are on their way: of a prompt server, about as many as it has calls in flight.
func killedWorkers(t *testing.T, f *figures) {
	const concurrency, recipients = 8, 2
	s := startSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond})
	s.hurry()
	s.api.Reject("user not found", "kill-3-1", "kill-700-0")
	l := newLoad("kill", 3000, recipients, 20, 3000) // all distinct: nothing can be put together
	l.publish(s)
	p := s.worker("--concurrency", "8")
	for n := range 3 {
		s.calls(100 + 500*n)
		s.stop(p, syscall.SIGKILL)
		p = s.worker("--concurrency", "8")
	}
	s.drained(patience)
	got := f.accountBuried(s, 2, l)
	// How many acks are on their way depends on the server: while it confirms some, the worker goes on until
	// sixteen times as many calls as may be in flight are not confirmed.
	most := 3 * (1 + 16) * concurrency * recipients
	if got.repeated > most {
		t.Errorf("%d repeats, more than the %d that may be in flight or not yet acknowledged", got.repeated, most)
	}
	prompt := 3 * (1 + 2) * concurrency * recipients
	f.bound(got.repeated <= prompt, "at most %d repeated, which are in flight or not yet acknowledged by a prompt server", prompt)
}

// replacedWorkers stops four workers, one after another, and starts another for each.
func replacedWorkers(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 30 * time.Millisecond})
	s.api.Reject("user not found", "roll-5-0", "roll-900-0", "roll-901-0")
	var replicas []*process
	for range 4 {
		replicas = append(replicas, s.worker("--concurrency", "4"))
	}
	l := newLoad("roll", 5000, 1, 20, 5000)
	l.publish(s)
	for n, p := range replicas {
		s.calls(500 * (n + 1))
		if code := s.stop(p, sigterm); code != 0 {
			t.Errorf("a worker stopped under load ended with %d", code)
		}
		s.worker("--concurrency", "4")
	}
	left, err := s.q.Status(t.Context(), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	s.drained(patience)
	got := f.accountBuried(s, 3, l)
	f.add("%d jobs were left when the last one had been replaced", int(left.Queued+left.Due+left.Scheduled)+left.Held)
	if got.repeated > 0 {
		t.Errorf("%d recipients were delivered to twice", got.repeated)
	}
	if left.Held == 0 {
		t.Error("the load was over before the last worker was replaced")
	}
}

// killedInLargeJob kills the worker that has delivered to a part of one job's 20,000 recipients.
func killedInLargeJob(t *testing.T, f *figures) {
	const concurrency, perCall = 4, 500
	s := startSystem(t, chatapitest.Config{MaxRecipients: perCall, Latency: 200 * time.Millisecond})
	s.hurry()
	l := newLoad("large", 1, 20_000, 1, 1)
	receipt, err := s.q.Publisher(queue.PublisherConfig{}).Publish(t.Context(), queue.Normal, l.jobs[0])
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Parts != 1 {
		t.Fatalf("published in %d parts: the worker has nothing to split", receipt.Parts)
	}
	p := s.worker("--concurrency", "4")
	s.calls(15) // of 40
	s.stop(p, syscall.SIGKILL)
	if n := s.api.Counts().Delivered; n >= 20_000 {
		t.Fatal("everything was delivered before the worker was killed")
	}
	s.worker("--concurrency", "4")
	s.drained(patience)
	got := f.account(s, l)
	most := (1 + 2) * concurrency * perCall
	f.add("at most %s were in flight or not yet acknowledged", term.Thousands(most))
	if got.repeated > most {
		t.Errorf("%d of 20,000 delivered to twice, more than the %d in flight or not yet acknowledged", got.repeated, most)
	}
}
