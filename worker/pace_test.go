package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

func TestLimiterBacksOffAndRecovers(t *testing.T) {
	begun := time.Now()
	l := newLimiter(64)
	slow := &chatapi.Error{Kind: chatapi.Temporary, Err: context.DeadlineExceeded}
	for range 64 { // all under way together
		l.learn(begun.Add(10*time.Second), begun, "p", false, slow)
	}
	if n := l.calls(); n != 32 {
		t.Errorf("%d calls allowed after one moment of overload, want 32", n)
	}
	for _, other := range []*chatapi.Error{
		{Kind: chatapi.Refused, Status: 400}, {Kind: chatapi.Credential, Status: 403}, {Kind: chatapi.Temporary, Status: 500},
		{Kind: chatapi.Temporary, Err: errors.New("connection refused")},
	} {
		l.learn(begun.Add(time.Minute), begun.Add(time.Minute), "p", false, other)
	}
	if n := l.calls(); n != 32 {
		t.Errorf("%d calls allowed after failures that are no overload, want 32", n)
	}
	for i, sign := range []*chatapi.Error{{Kind: chatapi.Limited, Status: 429}, {Kind: chatapi.Temporary, Status: 503}, {Kind: chatapi.Temporary, Status: 504}} {
		at := begun.Add(time.Duration(i+2) * time.Minute)
		l.learn(at, at, "p", false, sign)
	}
	if n := l.calls(); n != 4 {
		t.Errorf("%d calls allowed after three more, want 4", n)
	}
	for i := range 20 {
		at := begun.Add(time.Duration(i+10) * time.Minute)
		l.learn(at, at, "p", false, slow)
	}
	if n := l.calls(); n != 1 {
		t.Errorf("%d calls allowed at the least, want 1", n)
	}
	for i := range 5 { // only one project's trouble: another's calls succeed
		at := begun.Add(time.Duration(i+40) * time.Minute)
		l.allowed = 32
		l.learn(at, at, "q", false, nil)
		l.learn(at, at, "p", false, slow)
	}
	if n := l.calls(); n < 32 {
		t.Errorf("%d calls allowed after one project's trouble, want 32", n)
	}
	l.learn(begun.Add(time.Hour), begun.Add(time.Hour), "p", true, slow)
	if n := l.calls(); n < 32 {
		t.Errorf("%d calls allowed after a probe that failed, want 32", n)
	}
	l = limiter{ceiling: 64, allowed: 1, grown: begun}
	rounds := 0
	for ; l.calls() < 64 && rounds < 1000; rounds++ {
		for range l.calls() {
			l.learn(begun, begun, "p", false, nil)
		}
	}
	if rounds < 60 || rounds > 80 {
		t.Errorf("%d rounds of successes from 1 to 64, want about one for each", rounds)
	}
	l.learn(begun, begun, "p", false, nil)
	if n := l.calls(); n != 64 {
		t.Errorf("%d calls allowed, more than the ceiling", n)
	}
}

// Rates hold for calls and for recipients, for each project and for all.
func TestRates(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg    Config
		within time.Duration // for three projects' four calls of ten recipients
	}{
		"calls":              {Config{CallsPerSecond: 4}, 2750 * time.Millisecond},
		"recipients":         {Config{RecipientsPerSecond: 20}, 5500 * time.Millisecond},
		"project calls":      {Config{ProjectCallsPerSecond: 4}, 750 * time.Millisecond},
		"project recipients": {Config{ProjectRecipientsPerSecond: 20}, 1500 * time.Millisecond},
		"none":               {Config{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tc.cfg.Linger = -1
				for p := range 3 {
					for i := range 4 {
						w.publish(text(fmt.Sprint("p", p), fmt.Sprint("text", i), people("w", 10)...))
					}
				}
				begin := time.Now()
				r := w.start(tc.cfg)
				w.finish(r, time.Minute)
				calls := w.sent()
				if len(calls) != 12 {
					t.Fatalf("%d calls", len(calls))
				}
				last := at(begin, calls[len(calls)-1].at)
				if last < tc.within || last > tc.within+100*time.Millisecond {
					t.Errorf("the last call went after %v, want %v", last, tc.within)
				}
			})
		})
	}
}

// A gate that another worker tells of is kept like one's own, and its probe waits for its time.
func TestGateToldByAnotherWorker(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{})
		begin := time.Now()
		r.worker.CloseGate(Closure{ProjectID: "limited", Until: begin.Add(3 * time.Second), Kind: chatapi.Limited, Status: 429})
		w.publish(text("limited", "hello", "a"))
		w.publish(text("free", "hello", "a"))
		w.finish(r, time.Minute)
		for _, c := range w.sent() {
			switch after := at(begin, c.at); {
			case c.project == "limited" && after < 3*time.Second:
				t.Errorf("called after %v, inside the pause", after)
			case c.project == "free" && after > 100*time.Millisecond:
				t.Errorf("another project waited %v", after)
			}
		}
	})
}

// A call that may have been delivered is the last one where that is the policy.
func TestBuryAmbiguous(t *testing.T) {
	for _, bury := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			calls := 0
			w.answer = func(c call) (chatapi.Report, error) {
				if calls++; calls == 1 {
					return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Temporary, MayBeDelivered: true, Detail: "connection reset"}
				}
				return okReport, nil
			}
			w.publish(text("p", "hello", "a", "b"))
			r := w.start(Config{BuryAmbiguous: bury})
			w.finish(r, time.Minute)
			if letters := len(w.letters); bury && (calls != 1 || letters != 1) || !bury && (calls != 2 || letters != 0) {
				t.Errorf("bury %v: %d calls, %d letters", bury, calls, letters)
			}
		})
	}
}
