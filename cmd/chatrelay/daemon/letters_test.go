package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/worker"
)

// That letters cannot be written is said once, for whom and since when, until they are; nobody is named.
func TestLettersThatCannotBeWritten(t *testing.T) {
	board, now := newLetterBoard(), time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	event := func(kind worker.EventKind, after time.Duration, projects ...string) turn {
		e := worker.Event{Kind: kind}
		for _, p := range projects {
			e.Letters = append(e.Letters, queue.DeadLetter{ProjectID: p, Message: "coffee", WovenIDs: []string{"w-1"}})
		}
		if kind == worker.EventUnburied {
			e.Err = errors.New("the stream is full\nmore")
		}
		return board.event(now.Add(after), e)
	}
	var many []string
	for i := range 12 {
		many = append(many, fmt.Sprintf("p%02d", i))
	}
	if board.condition(now) != nil || event(worker.EventSettled, 0, "p00") != unchanged {
		t.Error("a condition without a cause")
	}
	if event(worker.EventUnburied, 0, many...) != began || event(worker.EventUnburied, time.Second, "p03") != unchanged {
		t.Error("the beginning is not told once")
	}
	c := board.condition(now)
	if c == nil || !c.Since.Equal(now) || c.Detail != "the stream is full (and 2 more projects)" || !slices.Equal(c.Projects, many[:10]) || board.count(now) != 12 {
		t.Fatalf("the condition is %+v", c)
	}
	w := httptest.NewRecorder()
	operations(prometheus.NewRegistry(), func() error { return nil }, func() []queue.Condition { return []queue.Condition{*c} }).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if text := w.Body.String(); w.Code != 200 || !strings.HasPrefix(text, "ready\ncannot write dead letters since 2026-11-23T09:00:00Z: the stream is full") || !strings.Contains(text, "p00, p01") {
		t.Errorf("%d %s", w.Code, text)
	}
	// Near the limit some are stored: that is not the end.
	if event(worker.EventSettled, 3*time.Second, many...) != unchanged || board.count(now) != 12 {
		t.Error("it ended at once")
	}
	// When all are stored and nothing more comes, it is over all the same.
	if board.condition(now.Add(4*time.Second)) == nil || board.condition(now.Add(10*time.Second)) != nil || board.count(now.Add(10*time.Second)) != 0 {
		t.Error("the end is not seen")
	}
	if event(worker.EventUnburied, 20*time.Second, many...) != began || !board.condition(now.Add(20*time.Second)).Since.Equal(now.Add(20*time.Second)) {
		t.Error("it does not begin anew")
	}
	if event(worker.EventSettled, time.Minute, many[1:]...) != unchanged || event(worker.EventPostponed, 2*time.Minute, "p00") != ended || board.condition(now) != nil {
		t.Error("the end is not told")
	}
	// Another worker may store what this one could not.
	if event(worker.EventUnburied, 3*time.Minute, "p00") != began {
		t.Error("that it begins again is not told")
	}
	board.event(now.Add(4*time.Minute), worker.Event{Kind: worker.EventUnburied, Letters: []queue.DeadLetter{{ProjectID: "p07"}}, Err: errors.New("no answer")})
	if c := board.condition(now.Add(4 * time.Minute)); c.Detail != "no answer" || !c.Since.Equal(now.Add(3*time.Minute)) {
		t.Errorf("the condition is %+v; want the last cause", c)
	}
	if event(worker.EventCall, 15*time.Minute) != ended {
		t.Error("it never ends")
	}
	var b bytes.Buffer
	log, err := NewLogger(&b, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	e := worker.Event{Kind: worker.EventUnburied, Letters: []queue.DeadLetter{{ProjectID: "p", Message: "coffee"}}, Err: errors.New("full")}
	logEvent(log, e)
	logLetters(log, began, e)
	logLetters(log, unchanged, e)
	logLetters(log, ended, e)
	if text := b.String(); strings.Count(text, "\n") != 2 || strings.Contains(text, "coffee") || !strings.Contains(text, `"error":"full"`) {
		t.Errorf("the log:\n%s", text)
	}
}
