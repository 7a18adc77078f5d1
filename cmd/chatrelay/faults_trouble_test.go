//go:build faults

package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

// forbiddenPage is how a gateway that looks into calls answers.
func forbiddenPage(status int) chatapitest.Fault {
	return chatapitest.Fault{
		Status: status, Times: -1, Header: map[string]string{"Content-Type": "text/html"},
		Body: fmt.Sprintf("<html><head><title>%d</title></head><body><center><h1>Request blocked</h1></center></body></html>", status),
	}
}

// oneMessage lets a gateway object to three of the messages of a project.
func oneMessage(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond})
	backlog, stream := newLoad("backlog", 150, 1, 1, 150), newLoad("stream", 150, 1, 1, 150)
	bad := map[string]int{"<script>": 403, "DROP TABLE": 404, "../etc": 400}
	for i, message := range slices.Sorted(maps.Keys(bad)) {
		fault := forbiddenPage(bad[message])
		fault.Message = message
		s.api.Script(fault)
		in := []load{backlog, backlog, stream}[i]
		in.jobs[10*i].Message = message
	}
	backlog.publish(s)
	published := map[string]time.Time{}
	for _, job := range backlog.jobs {
		published[job.Message] = time.Now()
	}
	s.worker()
	s.worker()
	for _, job := range stream.jobs {
		published[job.Message] = time.Now()
		load{[]queue.Job{job}}.publish(s)
		time.Sleep(20 * time.Millisecond) // the rate is the subject of the test
	}
	s.drained(patience)
	var waits []time.Duration
	for _, c := range s.api.Calls() {
		if c.Status == http.StatusOK {
			waits = append(waits, c.Time.Sub(published[c.Message]))
		}
	}
	slices.Sort(waits)
	if got := f.accountBuried(s, 3, backlog, stream); got.repeated > 0 || len(waits) != 297 {
		t.Fatalf("%d repeated, %d calls succeeded", got.repeated, len(waits))
	}
	for _, letter := range s.letters() {
		status := bad[letter.Message]
		if letter.Reason != queue.Refused || letter.Failures[0].Status != status || !strings.Contains(letter.Failures[0].Detail, fmt.Sprint(status)) {
			t.Errorf("letter %+v, want status %d", letter, status)
		}
	}
	last := waits[len(waits)-1]
	f.add("the others delivered after %.1f s (nine tenths), %.1f s (all)", waits[len(waits)*9/10].Seconds(), last.Seconds())
	f.bound(last <= 3*time.Second, "every other job within 3 s")
}

// oneRecipient hides somebody to whom a gateway objects among many recipients of one text.
func oneRecipient(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond})
	l := newLoad("festival", 5, 500, 1, 1)
	bad := l.jobs[2].WovenIDs[277]
	fault := forbiddenPage(http.StatusForbidden)
	fault.RefuseIDs = []string{bad}
	s.api.Script(fault)
	l.publish(s)
	began := time.Now()
	s.worker()
	s.drained(patience)
	var last time.Time
	for _, c := range s.api.Calls() {
		if c.Status == http.StatusOK {
			last = c.Time
		}
	}
	letters := s.letters()
	if got := f.accountBuried(s, 1, l); got.repeated > 0 || !slices.Equal(letters[0].WovenIDs, []string{bad}) || letters[0].Failures[0].Status != 403 {
		t.Errorf("%d repeated, letters %+v", got.repeated, letters)
	}
	if n := s.api.Counts().Calls; n >= 40 {
		t.Errorf("%d calls, want fewer than 40", n)
	}
	f.add("all others delivered after %.1f s", last.Sub(began).Seconds())
	f.bound(last.Sub(began) <= 5*time.Second, "all others within 5 s")
}

// toldButFailed delivers, and then fails: large calls, while small ones succeed, or all.
func toldButFailed(t *testing.T, f *figures) {
	const most = 3
	s := startSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond})
	s.api.Script(
		chatapitest.Fault{Project: project(0), Above: 200, Times: -1, Break: chatapitest.Hang},
		chatapitest.Fault{Project: project(1), Above: 200, Times: -1, Break: chatapitest.BreakAfter},
		chatapitest.Fault{Project: project(2), Above: 200, Times: -1, Status: 500, Deliver: true},
		chatapitest.Fault{Project: project(3), Times: -1, Status: 504, Deliver: true},
	)
	large, small := newLoad("large", 4, 300, 4, 4), newLoad("small", 300, 1, 3, 300)
	large.publish(s)
	s.worker("--max-ambiguous", fmt.Sprint(most), "--call-timeout", "2s")
	for _, job := range small.jobs {
		load{[]queue.Job{job}}.publish(s)
		time.Sleep(40 * time.Millisecond) // the rate is the subject of the test
	}
	s.drained(patience)
	got := f.accountBuried(s, 300, large, small)
	for _, letter := range s.letters() {
		if letter.Reason != queue.Ambiguous || letter.ProjectID != project(3) {
			t.Errorf("a letter of %s says %s", letter.ProjectID, letter.Reason)
		}
	}
	times := 0
	for _, n := range s.api.Deliveries() {
		times = max(times, n)
	}
	if times > most {
		t.Errorf("somebody was delivered to %d times, want %d at most", times, most)
	}
	f.add("nobody was delivered to more than %d times", times)
	if got.repeated == 0 {
		t.Error("nothing was repeated: nothing was tried")
	}
}

// smallCallsOnly is an API that takes fewer recipients than the worker's calls have.
func smallCallsOnly(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond})
	s.api.Script(chatapitest.Fault{Above: 100, Times: -1, Status: 400, Body: `{"statusCode":400,"message":"body/woven_ids must NOT have more than 100 items"}`})
	l := newLoad("large", 20, 500, 1, 20)
	l.publish(s)
	s.worker()
	s.drained(patience)
	if got := f.account(s, l); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	counts := s.api.Counts()
	if refused := counts.ByStatus[http.StatusBadRequest]; counts.Calls >= 250 || refused >= 40 {
		t.Errorf("%d calls, %d of them refused", counts.Calls, refused)
	}
	st, err := s.q.Status(t.Context(), 0)
	if err != nil || len(st.Workers) != 1 || len(st.Workers[0].CallSizes) != 1 {
		t.Fatalf("status: %+v, %v", st, err)
	}
	learned := st.Workers[0].CallSizes[0].Recipients
	if learned < 50 || learned > 100 {
		t.Errorf("%d recipients a call were learned, want nearly 100", learned)
	}
	f.add("%d of the calls were refused; %d recipients a call were learned", counts.ByStatus[http.StatusBadRequest], learned)
}
