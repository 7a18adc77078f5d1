//go:build faults

package main

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

const downFor = 15 * time.Second

// apiDown lets the API fail for all projects while jobs keep coming.
func apiDown(broken chatapitest.Fault) func(*testing.T, *figures) {
	return func(t *testing.T, f *figures) {
		s := startSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond})
		s.worker()
		before, meanwhile := newLoad("before", 1000, 1, 6, 1000), newLoad("meanwhile", 2000, 1, 6, 2000)
		before.publish(s)
		s.calls(200)
		broken.Times = -1
		down := time.Now()
		s.api.Script(broken)
		meanwhile.publish(s)
		time.Sleep(time.Until(down.Add(downFor))) // the subject of the test
		s.api.ClearFaults()
		back := time.Now()
		s.drained(patience)

		var last time.Time
		failed, atOnce := 0, 0
		for _, c := range s.api.Calls() {
			if c.Status != http.StatusOK {
				failed++
				if c.Time.Before(down.Add(time.Second)) {
					atOnce++
				}
			} else if c.Time.After(last) {
				last = c.Time
			}
		}
		f.account(s, before, meanwhile)
		took := last.Sub(back)
		f.add("%d calls failed while it was down, %d of them in its first second; the last recipient was delivered to %.1f s after its return", failed, atOnce, took.Seconds())
		if failed >= 300 {
			t.Errorf("%d calls while the API was down, want fewer than 300", failed)
		}
		f.bound(took <= 15*time.Second, "all delivered within 15 s of the API's return")
	}
}

// limitedProject answers one call of one project of five with 429, while two workers have calls of it in
// flight. The other worker would go on, and be served, if it did not hear of the pause.
func limitedProject(t *testing.T, f *figures) {
	const latency, concurrency, pause = 50 * time.Millisecond, 8, 3 * time.Second
	s := startSystem(t, chatapitest.Config{Latency: latency})
	s.worker("--concurrency", "8")
	s.worker("--concurrency", "8")
	// An odd number of projects: the server hands out jobs to the two workers by turns, so that of an even
	// number each worker would have projects of its own.
	l := newLoad("limit", 3200, 1, 5, 3200)
	l.publish(s)
	s.calls(500)
	s.bothAtWork()
	s.api.Script(chatapitest.Fault{Project: project(0), Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "3"}})
	s.drained(patience)

	calls := s.api.Calls()
	at := slices.IndexFunc(calls, func(c chatapitest.Call) bool { return c.Status == http.StatusTooManyRequests })
	if at < 0 {
		t.Fatal("no call was answered with 429")
	}
	limited := calls[at].Time
	var inPause, late, others, othersBefore int
	var resumed time.Duration
	for i, c := range calls {
		since := c.Time.Sub(limited)
		switch {
		case c.ProjectID != project(0):
			if since > 0 && since < pause {
				others++
			} else if since > -time.Second && since <= 0 {
				othersBefore++
			}
		case i == at || since < 0:
		case since < pause:
			inPause++
			if since > time.Second { // long after the last call that was in flight
				late++
			}
		case resumed == 0 || since < resumed:
			resumed = since
		}
	}
	f.account(s, l)
	speed := float64(others) / pause.Seconds()
	f.add("%d more calls of the project inside the pause; its next one %.1f s after the 429; the others %.0f calls/s in the second before it, %.0f in the pause", inPause, resumed.Seconds(), float64(othersBefore), speed)
	if inPause > 2*concurrency {
		t.Errorf("%d calls of the project in the pause, want at most the %d in flight", inPause, 2*concurrency)
	}
	if others == 0 || resumed == 0 {
		t.Errorf("%d calls of the others in the pause; the project went on after %v", others, resumed)
	}
	f.bound(late == 0, "no call of the project after the pause's first second")
	// The others have the limited project's share as well; a worker halves its calls for an instant.
	f.bound(speed >= 0.75*float64(othersBefore), "the others at three quarters of their speed before at least")
}

// bothAtWork waits until both of two workers have begun to call, for which each gets a token.
func (s *system) bothAtWork() {
	s.t.Helper()
	s.eventually(patience, "the calls of both workers", func() bool { return s.api.Counts().TokensIssued == 2 })
}

// badRecipients hides four recipients that make the API refuse the whole call, each in a call of
// its own, which is the dearest case.
func badRecipients(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond})
	bad := []string{"bad-77-0", "bad-803-0", "bad-1333-0", "bad-2222-0"}
	s.api.Script(chatapitest.Fault{RefuseIDs: bad, Times: -1})
	l := newLoad("bad", 2400, 1, 1, 1)
	l.publish(s)
	s.worker("--linger", "1s") // full calls, however slowly the jobs come
	s.drained(patience)
	var buried []string
	for _, letter := range s.letters() {
		buried = append(buried, letter.WovenIDs...)
		if letter.Reason != queue.Refused || letter.Failures[0].Status != http.StatusBadRequest {
			t.Errorf("letter %+v", letter)
		}
	}
	slices.Sort(buried)
	if slices.Sort(bad); !slices.Equal(buried, bad) {
		t.Errorf("buried %v, want %v", buried, bad)
	}
	got := f.accountBuried(s, len(bad), l)
	if got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	if n := s.api.Counts().Calls; n >= 80 {
		t.Errorf("%d calls, want fewer than 80", n)
	}
}

// revokedToken makes the tokens of two workers invalid under load, minutes before they expire.
func revokedToken(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 10 * time.Millisecond})
	s.worker("--concurrency", "8")
	s.worker("--concurrency", "8")
	l := newLoad("token", 3000, 1, 5, 3000)
	l.publish(s)
	s.calls(500)
	s.bothAtWork()
	before := s.api.Counts().TokensIssued
	s.api.RevokeTokens()
	s.drained(patience)
	counts := s.api.Counts()
	refreshes := counts.TokensIssued - before
	got := f.account(s, l)
	f.add("%d refreshes by two workers; %d calls answered 401", refreshes, counts.ByStatus[http.StatusUnauthorized])
	if before != 2 || refreshes != 2 {
		t.Errorf("%d tokens before, %d refreshes after one revocation; want one of each per worker", before, refreshes)
	}
	if counts.ByStatus[http.StatusUnauthorized] == 0 {
		t.Error("no call met the revocation")
	}
	if got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
}
