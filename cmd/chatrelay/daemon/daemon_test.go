package daemon

import (
	"bytes"
	"errors"
	standard "log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/chatapi/credentials"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/worker"
)

// No line holds message text; recipients, which what a server said may name, only at debug level.
func TestLogHoldsNothingSecret(t *testing.T) {
	rejected := &chatapi.Error{Kind: chatapi.Refused, Op: "call x", Status: 400, Detail: "w-1 is unknown"}
	letter := queue.DeadLetter{Reason: queue.Rejected, Message: "Your coffee", WovenIDs: []string{"w-1", "w-2"}}
	for level, ids := range map[string]bool{"info": false, "debug": true} {
		var b bytes.Buffer
		log, err := NewLogger(&b, "auto", level)
		if err != nil {
			t.Fatal(err)
		}
		logEvent(log, worker.Event{Kind: worker.EventCall, Ambiguous: true, Err: rejected, Status: 400})
		logEvent(log, worker.Event{Kind: worker.EventSettled, Jobs: 1, Letters: []queue.DeadLetter{letter}})
		logEvent(log, worker.Event{Kind: worker.EventGate, ProjectID: "p", Wait: time.Second, Err: rejected})
		text := b.String()
		if strings.Contains(text, "coffee") || strings.Contains(text, "w-1") != ids || strings.Contains(text, "w-2") {
			t.Errorf("at level %s:\n%s", level, text)
		}
		for _, want := range []string{`"error":"call x: refused, status 400`, `"dead":{"rejected":2}`, "gate closed: the project's calls are held back"} {
			if !strings.Contains(text, want) {
				t.Errorf("at level %s %q is missing:\n%s", level, want, text)
			}
		}
	}
}

func TestNewLoggerRefuses(t *testing.T) {
	for _, c := range [][2]string{{"xml", "info"}, {"json", ""}, {"json", "loud"}} {
		if _, err := NewLogger(&bytes.Buffer{}, c[0], c[1]); err == nil {
			t.Errorf("format %q and level %q are taken", c[0], c[1])
		}
	}
}

func TestLogOfCredentials(t *testing.T) {
	var b bytes.Buffer
	log, err := NewLogger(&b, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []credentials.Event{
		credentials.Reloaded{Added: []string{"a", "b"}, Changed: []string{"c"}}, credentials.ReloadFailed{File: "s2", Err: errors.New("c.yaml:2: wrong")}, credentials.Reloaded{Rest: true},
		credentials.NoFile{}, credentials.NoToken{Err: &chatapi.Error{Kind: chatapi.Credential, Status: 401, Unsent: true, Detail: "no_client: who?"}},
		credentials.NoToken{Project: "p", ClientID: "cafe", Err: &chatapi.Error{Kind: chatapi.Credential}},
		credentials.NoToken{Err: &chatapi.Error{Kind: chatapi.Misconfigured}}, credentials.NoToken{Err: &chatapi.Error{Kind: chatapi.Temporary}},
	} {
		logCredentials(log, "c.yaml", "s1", e)
	}
	for _, want := range []string{
		`"file":"c.yaml","added":2,"removed":0,"changed":1`, `"file":"s2","error":"c.yaml:2: wrong"`, `"client_secret_file":"s1","time"`, "the client secret was replaced",
		"there is no credentials file and no secret file", `"client_secret_file":"s1","error":"call the Chat API: credential, status 401: no_client: who?"`,
		"jobs will wait; check the client id", `"project":"p","client_id":"cafe"`, "check its entry in the credentials file",
		"jobs will wait; check the address", "jobs will wait; the token server cannot be reached",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing:\n%s", want, &b)
		}
	}
}

// What is reported of a gate is counted, shown to status while it is closed, and a cause that
// concerns all workers means for another one what it means here.
func TestGates(t *testing.T) {
	board := newGateBoard()
	m := newMetrics(func() float64 { return 3 }, func() float64 { return float64(len(board.list())) }, func() bool { return true })
	limited := &chatapi.Error{Kind: chatapi.Limited, Status: 429}
	for _, e := range []worker.Event{
		{Kind: worker.EventGate, ProjectID: "b", Wait: time.Minute, Status: 429, Err: limited, Allowed: 32},
		{Kind: worker.EventGate, ProjectID: "a", Wait: time.Minute, Err: errors.New("odd")},
		{Kind: worker.EventCall, ProjectID: "b", Status: 200, Recipients: 2, Delivered: 2},
	} {
		m.event(e)
		board.event(e)
	}
	list := board.list()
	if len(list) != 2 || list[0].Kind != "other" || list[1].Kind != "limited" || time.Until(list[1].Until) < 50*time.Second {
		t.Errorf("closed gates: %+v", list)
	}
	if c := closure(list[1], list[1].Until.Add(-time.Minute)); c.Kind != chatapi.Limited || c.ProjectID != "b" || c.Status != 429 || c.Wait != time.Minute {
		t.Errorf("for another worker: %+v", c)
	}
	page := get(t, m.registry, nil, "/metrics")
	for _, want := range []string{
		`chatrelay_gates_closed 2`, `chatrelay_gate_closed_total{kind="limited"} 1`, `chatrelay_gate_closed_total{kind="other"} 1`,
		`chatrelay_calls_total{status="200"} 1`, `chatrelay_recipients_delivered_total 2`, `chatrelay_jobs_held 3`, `chatrelay_nats_connected 1`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	board.event(worker.Event{Kind: worker.EventGate, ProjectID: "b"})
	if list := board.list(); len(list) != 1 {
		t.Errorf("after it opened: %+v", list)
	}
}

func get(t *testing.T, registry *prometheus.Registry, notReady error, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	operations(registry, func() error { return notReady }, func() []queue.Condition { return nil }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if want := map[bool]int{true: 200, false: 503}[notReady == nil || path != "/readyz"]; w.Code != want {
		t.Errorf("%s answers %d, want %d", path, w.Code, want)
	}
	return w.Body.String()
}

func TestHealth(t *testing.T) {
	r, why := prometheus.NewRegistry(), errors.New("not connected to NATS")
	for _, c := range []struct {
		path, want string
		notReady   error
	}{{"/healthz", "ok", why}, {"/readyz", "not connected", why}, {"/readyz", "ready", nil}} {
		if got := get(t, r, c.notReady, c.path); !strings.Contains(got, c.want) {
			t.Errorf("%s says %q, want %q", c.path, got, c.want)
		}
	}
}

// A writer that fails, waits for ever or is asked to come again neither holds up nor ends anything.
func TestLogWriter(t *testing.T) {
	var b bytes.Buffer
	again := true
	w := NewLogWriter(writerFunc(func(p []byte) (int, error) {
		if again = !again; !again {
			n, _ := b.Write(p[:1])
			return n, syscall.EAGAIN
		}
		return b.Write(p)
	}))
	_, _ = w.Write([]byte("whole\n"))
	if w.Close(); b.String() != "whole\n" || w.Lost() != 0 {
		t.Errorf("written %q, lost %d", b.String(), w.Lost())
	}
	w = NewLogWriter(writerFunc(func(p []byte) (int, error) { return 0, syscall.ENOSPC }))
	for range 3 {
		if n, err := w.Write([]byte("line\n")); n != 5 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	if w.Close(); w.Lost() != 3 {
		t.Errorf("lost %d, want 3", w.Lost())
	}
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		w := NewLogWriter(writerFunc(func(p []byte) (int, error) { <-stuck; return len(p), nil }))
		for range 3 * logLines {
			_, _ = w.Write([]byte("line\n"))
		}
		w.Close() // after a while
		close(stuck)
		synctest.Wait()
		if w.Lost() < logLines {
			t.Errorf("lost %d of %d lines", w.Lost(), 3*logLines)
		}
	})
}

// The cause of a gate is what the network or the token server said, and of the API's words none.
func TestCauseOfAGate(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{&chatapi.Error{Kind: chatapi.Temporary, Op: "call x", Detail: "tls: certificate signed by unknown authority"}, "call x: temporary: tls: certificate signed by unknown authority"},
		{&chatapi.Error{Kind: chatapi.Credential, Op: "get a token from y", Status: 401, Unsent: true, Detail: "invalid_client: no such client"}, "get a token from y: credential, status 401: invalid_client: no such client"},
		{&chatapi.Error{Kind: chatapi.Credential, Op: "call x", Status: 403, Detail: "w-1 may not be told: Your coffee"}, "call x: credential, status 403"},
		{errors.New("panic while calling: oops\ngoroutine 1"), "panic while calling: oops"},
	} {
		g := gateStatus(worker.Event{ProjectID: "p", Err: c.err, Narrow: true}, time.Now())
		api, _ := errors.AsType[*chatapi.Error](c.err)
		if g.Detail != c.want || !g.Narrow || api != nil && g.Advice != api.Advice() || api == nil && g.Advice != "" {
			t.Errorf("%+v, want %q", g, c.want)
		}
	}
}

// What is not certain about an accepted call is a warning at once, and counted.
func TestPartlyUnderstoodCall(t *testing.T) {
	m := newMetrics(func() float64 { return 0 }, func() float64 { return 0 }, func() bool { return true })
	m.countLost(func() int64 { return 7 })
	for _, c := range []struct {
		event worker.Event
		want  string // "" for nothing at info level
	}{
		{worker.Event{Kind: worker.EventCall, Status: 200, Unknown: 2}, "call partly understood: the API named recipients that were not asked for"},
		{worker.Event{Kind: worker.EventCall, Status: 200, Doubt: "success is missing"}, `"doubt":"success is missing"`},
		{worker.Event{Kind: worker.EventCall, Status: 200}, ""},
	} {
		var b bytes.Buffer
		log, err := NewLogger(&b, "json", "info")
		if err != nil {
			t.Fatal(err)
		}
		logEvent(log, c.event)
		m.event(c.event)
		if text := b.String(); c.want == "" && text != "" || c.want != "" && !(strings.Contains(text, c.want) && strings.Contains(text, `"level":"warn"`)) {
			t.Errorf("%+v: %q, want %q", c.event, text, c.want)
		}
	}
	page := get(t, m.registry, nil, "/metrics")
	for _, want := range []string{"chatrelay_calls_partly_understood_total 2", "chatrelay_recipients_unknown_total 2", "chatrelay_log_lines_lost_total 7"} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// What libraries say by the standard logger may hold what a server said.
func TestLibrariesSpeakAtDebugLevelOnly(t *testing.T) {
	defer standard.SetOutput(os.Stderr)
	for level, want := range map[string]bool{"info": false, "debug": true} {
		var b bytes.Buffer
		log, err := NewLogger(&b, "json", level)
		if err != nil {
			t.Fatal(err)
		}
		catchLibraries(log)
		standard.Print("Unsolicited response")
		if strings.Contains(b.String(), "Unsolicited") != want {
			t.Errorf("at level %s: %q", level, &b)
		}
	}
}

// A message that fails once between successes is not worth a line; one that fails again is, once.
func TestGatesInTheLog(t *testing.T) {
	failed := &chatapi.Error{Kind: chatapi.Credential, Status: 403}
	for _, c := range []struct {
		event worker.Event
		want  string // level; "" for nothing at info level
	}{
		{worker.Event{Narrow: true, Failed: 1, Wait: time.Second, Err: failed}, ""},
		{worker.Event{Narrow: true, Failed: 1}, ""},
		{worker.Event{Narrow: true, Failed: 2, Wait: time.Second, Err: failed, Again: true}, "warn"},
		{worker.Event{Narrow: true, Failed: 3, Wait: time.Second, Err: failed, Again: true}, ""},
		{worker.Event{Narrow: true, Failed: 3}, "info"},
		{worker.Event{Failed: 2, Wait: time.Second, Err: failed}, "warn"},
		{worker.Event{Failed: 3, Wait: time.Second, Err: failed, Again: true}, ""},
		{worker.Event{Failed: 3}, "info"},
	} {
		var b bytes.Buffer
		log, err := NewLogger(&b, "json", "info")
		if err != nil {
			t.Fatal(err)
		}
		c.event.Kind = worker.EventGate
		logEvent(log, c.event)
		if text := b.String(); c.want == "" && text != "" || !strings.Contains(text, c.want) {
			t.Errorf("%+v: %q, want %q", c.event, text, c.want)
		}
	}
}
