//go:build faults

package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

const nginxPage = "<html>\r\n<head><title>Error</title></head>\r\n<body>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"

// oddStatuses answers every call of each of some projects with a status that says nothing about the call,
// until the API is well.
func oddStatuses(t *testing.T, f *figures) {
	const down, jobs = 2 * time.Second, 5
	var odd []chatapitest.Fault
	for _, status := range []int{400, 404, 409, 421, 422, 431, 501, 526} {
		odd = append(odd, chatapitest.Fault{Status: status, Body: nginxPage, Header: map[string]string{"Content-Type": "text/html"}})
	}
	for _, status := range []int{302, 402, 405, 406, 407, 408, 410, 415, 417, 418, 425, 426, 451, 505, 511, 600} {
		odd = append(odd, chatapitest.Fault{Status: status, Body: `{"error":"odd"}`, Header: map[string]string{"Content-Type": "application/json"}})
	}
	s := startSystem(t, chatapitest.Config{})
	for i, fault := range odd {
		fault.Project, fault.Times = project(i), -1
		s.api.Script(fault)
	}
	l := newLoad("status", jobs*len(odd), 2, len(odd), jobs*len(odd))
	l.publish(s)
	s.worker()
	s.calls(len(odd))
	time.Sleep(down) // the subject of the test
	s.api.ClearFaults()
	back := time.Now()
	s.drained(patience)
	if got := f.account(s, l); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	f.add("%d statuses; all delivered %.1f s after the API was well", len(odd), time.Since(back).Seconds())
}

// oddReplies answers a call of each of some projects with a 200 or the like that is not as it is documented.
func oddReplies(t *testing.T, f *figures) {
	const ok = `{"success":true,"data":{"errors":[]},"info":"ok"}`
	named := func(ids, reason string) string {
		return `{"success":true,"data":{"errors":[{"user_ids":` + ids + `,"reason":` + reason + `}]},"info":"x"}`
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(named(`["w-Abc"]`, `"gone"`)))
	_ = w.Close()
	replies := []struct {
		name     string
		fault    chatapitest.Fault
		rejected bool // w-Abc, the first of the two recipients
		calls    int  // zero: one
	}{
		{name: "BOM", fault: chatapitest.Fault{Body: "\xef\xbb\xbf" + ok}},
		{name: "info not UTF-8", fault: chatapitest.Fault{Body: "{\"success\":true,\"data\":{\"errors\":[]},\"info\":\"\xe3\x82\"}"}},
		{name: "errors null", fault: chatapitest.Fault{Body: `{"success":true,"data":{"errors":null},"info":"ok"}`}},
		{name: "data missing", fault: chatapitest.Fault{Body: `{"success":true}`}},
		{name: "trailing text", fault: chatapitest.Fault{Body: ok + "\n<!-- 3 ms -->"}},
		{name: "no last chunk, closed", fault: chatapitest.Fault{Break: chatapitest.BreakEnd}},
		{name: "no last chunk, open", fault: chatapitest.Fault{Break: chatapitest.HangEnd}},
		{name: "202 empty", fault: chatapitest.Fault{Status: 202}},
		{name: "204", fault: chatapitest.Fault{Status: 204}},
		{name: "names nobody", fault: chatapitest.Fault{Body: named(`[]`, `"push gateway down"`)}},
		{name: "names a stranger", fault: chatapitest.Fault{Body: named(`["somebody"]`, `"gone"`)}},
		{name: "lone surrogate", fault: chatapitest.Fault{Body: named(`["w-Abc"]`, `"no device for \ud83c"`)}, rejected: true},
		{name: "reason null", fault: chatapitest.Fault{Body: named(`["w-Abc"]`, `null`)}, rejected: true},
		{name: "gzip", fault: chatapitest.Fault{Body: packed.String(), Header: map[string]string{"Content-Encoding": "gzip"}}, rejected: true},
		{name: "upper case", fault: chatapitest.Fault{Body: named(`["W-ABC"]`, `"gone"`)}, rejected: true},
		{name: "blanks", fault: chatapitest.Fault{Body: named(`[" w-Abc\n"]`, `"gone"`)}, rejected: true},
		{name: "a text", fault: chatapitest.Fault{Body: named(`"w-Abc"`, `"gone"`)}, rejected: true},
		{name: "Success, userIds", fault: chatapitest.Fault{Body: `{"Success":true,"Data":{"Errors":[{"userIds":["w-Abc"]}]}}`}, rejected: true},
		// Not the API's reply at all: the call is made again.
		{name: "maintenance", fault: chatapitest.Fault{Body: `{"status":"maintenance"}`}, calls: 2},
		{name: "page", fault: chatapitest.Fault{Body: nginxPage, Header: map[string]string{"Content-Type": "text/html"}}, calls: 2},
	}
	s := startSystem(t, chatapitest.Config{})
	var l load
	rejected := 0
	for i, r := range replies {
		fault := r.fault
		fault.Project = project(i)
		if fault.Break == "" {
			fault.Status, fault.Deliver = max(fault.Status, 200), r.calls == 0
		}
		s.api.Script(fault)
		message := "to w-Abc: " + r.name
		l.jobs = append(l.jobs, queue.Job{ID: fmt.Sprintf("reply-%d", i), ProjectID: project(i), Message: message, WovenIDs: []string{"w-Abc", "w-2"}})
		if r.rejected {
			rejected++
		}
	}
	l.publish(s)
	s.worker()
	s.drained(patience)

	calls := map[string]int{}
	for _, c := range s.api.Calls() {
		calls[c.ProjectID]++
	}
	letters := map[string][]string{}
	for _, letter := range s.letters() {
		letters[letter.ProjectID] = append(letters[letter.ProjectID], string(letter.Reason)+" "+strings.Join(letter.WovenIDs, " "))
	}
	for i, r := range replies {
		if got, want := calls[project(i)], max(r.calls, 1); got != want {
			t.Errorf("%s: %d calls, want %d", r.name, got, want)
		}
		var want []string
		if r.rejected {
			want = []string{"rejected w-Abc"}
		}
		if got := letters[project(i)]; !slices.Equal(got, want) {
			t.Errorf("%s: buried %q, want %q", r.name, got, want)
		}
	}
	if got := l.count(s); got.lost > 0 || got.buried != rejected {
		t.Errorf("%+v, want %d buried", got, rejected)
	}
	f.add("of %d replies all were understood as they were meant; %d calls", len(replies), s.api.Counts().Calls)
}

// oddRetryAfter limits a call of each of some projects, and says for how long in many ways.
func oddRetryAfter(t *testing.T, f *figures) {
	const pause = 4 * time.Second
	s := startSystem(t, chatapitest.Config{})
	s.worker()
	began := time.Now().Truncate(time.Second)
	end := began.Add(pause + time.Second) // of those that name a point in time
	at := func(clock time.Duration, when time.Time) string { return when.Add(clock).UTC().Format(http.TimeFormat) }
	limits := []struct {
		name   string
		header map[string]string
		status int       // zero: 429
		until  time.Time // zero: a pause after the first call
	}{
		{name: "whole", header: map[string]string{"Retry-After": "4"}},
		{name: "decimal", header: map[string]string{"Retry-After": "4.0"}},
		{name: "503", header: map[string]string{"Retry-After": "4.0"}, status: 503},
		{name: "two, joined", header: map[string]string{"Retry-After": "4, 1"}},
		{name: "two lines", header: map[string]string{"Retry-After": "4", "retry-after": "1"}},
		{name: "with a unit", header: map[string]string{"Retry-After": "4s"}},
		{name: "date", header: map[string]string{"Retry-After": at(0, end)}, until: end},
		{name: "date, 30 s ahead", header: map[string]string{"Retry-After": at(30*time.Second, began.Add(pause)), "Date": at(30*time.Second, began)}},
		{name: "date, 30 s behind", header: map[string]string{"Retry-After": at(-30*time.Second, began.Add(pause)), "Date": at(-30*time.Second, began)}},
		{name: "RateLimit-Reset", header: map[string]string{"RateLimit-Limit": "9", "RateLimit-Remaining": "0", "RateLimit-Reset": "4"}},
		{name: "X-RateLimit-Reset", header: map[string]string{"X-RateLimit-Reset": fmt.Sprint(end.Unix())}, until: end},
		{name: "RateLimit", header: map[string]string{"RateLimit": `"day";r=7;t=9000, "minute";r=0;t=4`}},
		{name: "RateLimit, older", header: map[string]string{"RateLimit": "limit=9, remaining=0, reset=4"}},
	}
	for i, l := range limits {
		s.api.Script(chatapitest.Fault{Project: project(i), Status: max(l.status, http.StatusTooManyRequests), Header: l.header})
	}
	l := newLoad("limit", len(limits), 1, len(limits), len(limits))
	l.publish(s)
	s.drained(patience)

	calls := map[string][]time.Time{}
	for _, c := range s.api.Calls() {
		calls[c.ProjectID] = append(calls[c.ProjectID], c.Time)
	}
	var longest time.Duration
	for i, l := range limits {
		got := calls[project(i)]
		if len(got) != 2 {
			t.Errorf("%s: %d calls, want one before the pause and one after", l.name, len(got))
			continue
		}
		until := l.until
		if until.IsZero() {
			until = got[0].Add(pause)
		}
		late := got[1].Sub(until)
		// A moment is allowed: the worker reads a clock of its own.
		if longest = max(longest, late); late < -10*time.Millisecond {
			t.Errorf("%s: called %v before the pause was over", l.name, -late)
		}
	}
	f.add("%d spellings; none of the projects was called inside its pause, and each again at most %.1f s after it", len(limits), longest.Seconds())
	f.account(s, l)
	f.bound(longest < 4*time.Second, "each called again within 4 s of the end of its pause")
}
