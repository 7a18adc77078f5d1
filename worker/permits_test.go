package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// slow is a sign that the host has too much to do.
var slow = &chatapi.Error{Kind: chatapi.Temporary, Err: context.DeadlineExceeded}

func TestLimiterBacksOffAndRecovers(t *testing.T) {
	begun := time.Now()
	l := newLimiter(64)
	learn := func(at time.Time, project string, err *chatapi.Error) {
		l.learn(at, project, permit{cuts: l.cuts}, 0, err)
	}
	together := permit{cuts: l.cuts}
	for i := range 64 {
		l.learn(begun.Add(10*time.Second), "p", together, 63-i, slow)
	}
	if n := l.calls(); n != 32 || l.earlier != 0 {
		t.Errorf("%d calls allowed after one moment of overload, %d in flight since before; want 32 and none", n, l.earlier)
	}
	for _, other := range []*chatapi.Error{
		{Kind: chatapi.Refused, Status: 400}, {Kind: chatapi.Credential, Status: 403}, {Kind: chatapi.Temporary, Status: 500},
		{Kind: chatapi.Temporary, Err: errors.New("connection refused")},
	} {
		learn(begun.Add(time.Minute), "p", other)
	}
	if n := l.calls(); n != 32 {
		t.Errorf("%d calls allowed after failures that are no overload, want 32", n)
	}
	for i, sign := range []*chatapi.Error{{Kind: chatapi.Limited, Status: 429}, {Kind: chatapi.Temporary, Status: 503}, {Kind: chatapi.Temporary, Status: 504}} {
		learn(begun.Add(time.Duration(i+2)*time.Minute), "p", sign)
	}
	if n := l.calls(); n != 4 {
		t.Errorf("%d calls allowed after three more, want 4", n)
	}
	for i := range 20 {
		learn(begun.Add(time.Duration(i+10)*time.Minute), "p", slow)
	}
	if n := l.calls(); n != 1 {
		t.Errorf("%d calls allowed at the least, want 1", n)
	}
	l = limiter{ceiling: 64, allowed: 1, grown: begun}
	rounds := 0
	for ; l.calls() < 64 && rounds < 1000; rounds++ {
		for range l.calls() {
			learn(begun, "p", nil)
		}
	}
	if rounds < 60 || rounds > 80 {
		t.Errorf("%d rounds of successes from 1 to 64, want about one for each", rounds)
	}
	learn(begun, "p", nil)
	if n := l.calls(); n != 64 {
		t.Errorf("%d calls allowed, more than the ceiling", n)
	}
}

// What one project meets while another's calls succeed is no sign of overload, nor is a probe that
// fails; what it meets ten seconds after the last success of another is one.
func TestLimiterToldApart(t *testing.T) {
	begun := time.Now()
	for _, c := range []struct {
		name  string
		after time.Duration // since another project's call succeeded
		probe bool
		want  int
	}{
		{"another project's call succeeded just now", 0, false, 64},
		{"another project's call succeeded nine seconds ago", 9 * time.Second, false, 64},
		{"another project's call succeeded eleven seconds ago", 11 * time.Second, false, 32},
		{"a probe that fails", 11 * time.Second, true, 64},
	} {
		l := newLimiter(64)
		l.learn(begun, "other", permit{}, 0, nil)
		l.learn(begun, "p", permit{}, 0, nil)
		l.learn(begun.Add(c.after), "p", permit{probe: c.probe}, 0, slow)
		if n := l.calls(); n != c.want {
			t.Errorf("%s: %d calls allowed, want %d", c.name, n, c.want)
		}
	}
}

// The last free slots are kept for others, but where many have calls in flight, none are.
func TestReserve(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		projects, each int
		want           cause
	}{
		{1, 31, granted}, {1, 32, reserved}, {6, 8, granted}, {6, 9, reserved}, {7, 7, granted}, {7, 8, reserved}, {8, 7, granted},
	} {
		p := newPermits(Config{Concurrency: 63}.withDefaults())
		p.reserve = 63 // every free slot is one of the last
		var first *project
		for range c.projects {
			pr := &project{successes: 63} // it has called before
			for range c.each {
				p.begin(now, pr, 1)
			}
			if first == nil {
				first = pr
			}
		}
		if got := p.of(now, first); got.cause != c.want {
			t.Errorf("%d projects with %d calls each: another of one of them: %v, want %q", c.projects, c.each, got, c.want)
		}
		if got := p.of(now, &project{}); !got.granted() {
			t.Errorf("%d projects with %d calls each: the first of another: %v", c.projects, c.each, got)
		}
	}
}
