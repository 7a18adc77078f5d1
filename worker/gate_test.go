package worker

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

func failure503() error {
	return &chatapi.Error{Kind: chatapi.Temporary, Status: 503, Detail: "overloaded"}
}

// failing answers the first n calls of a project with err.
func failing(project string, n int, err error) func(call) (chatapi.Report, error) {
	return func(c call) (chatapi.Report, error) {
		if c.project != project || n <= 0 {
			return chatapi.Report{}, nil
		}
		n--
		return chatapi.Report{}, err
	}
}

// gaps are the times between the end of a call and the beginning of the next.
func gaps(calls []call) []time.Duration {
	var all []time.Duration
	for i := 1; i < len(calls); i++ {
		all = append(all, calls[i].at.Sub(calls[i-1].end))
	}
	return all
}

func TestWaitsGrowAndAreJittered(t *testing.T) {
	firsts := map[time.Duration]bool{}
	for range 5 {
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = failing("p", 10, failure503())
			r := w.start(Config{})
			w.publish(text("p", "hello", "a"))
			w.finish(r, time.Hour)
			calls := w.sent()
			if len(calls) != 11 {
				t.Fatalf("%d calls, want 11", len(calls))
			}
			mean := float64(gateFirst)
			for i, gap := range gaps(calls) {
				mean := time.Duration(min(mean*math.Pow(gateGrowth, float64(i)), float64(gateMax)))
				if gap < mean*6/10 || gap > mean*14/10 {
					t.Errorf("wait %d is %v, want about %v", i, gap, mean)
				}
			}
			firsts[gaps(calls)[0]] = true
		})
	}
	if len(firsts) < 2 {
		t.Error("the waits are not jittered")
	}
}

// A call that failed holds no slot while its project's gate is closed.
func TestFailedCallHoldsNoSlot(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 5, failure503())
		r := w.start(Config{Concurrency: 1})
		w.publish(text("p", "hello", "a"))
		time.Sleep(50 * time.Millisecond)
		begin := time.Now()
		w.publish(text("q", "hello", "a"))
		w.finish(r, time.Hour)
		calls := w.sent()
		if calls[1].project != "q" || at(begin, calls[1].at) != 20*time.Millisecond {
			t.Errorf("the second call is for %s after %v; want q after 20ms", calls[1].project, at(begin, calls[1].at))
		}
	})
}

func TestSuccessResetsTheWait(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(c call) (chatapi.Report, error) {
			if c.n%4 == 3 {
				return chatapi.Report{}, nil
			}
			return chatapi.Report{}, failure503()
		}
		r := w.start(Config{Concurrency: 1})
		w.publish(text("p", "one", "a"))
		w.publish(text("p", "two", "a"))
		w.finish(r, time.Hour)
		if all := gaps(w.sent()); all[3] != 0 || all[4] > gateFirst*3/2 {
			t.Errorf("after a success the waits are %v; want none, and then a short one", all[3:])
		}
	})
}

func TestDemandedWaits(t *testing.T) {
	for name, c := range map[string]struct {
		err  *chatapi.Error
		want time.Duration
	}{
		"429":                  {&chatapi.Error{Kind: chatapi.Limited, Status: 429}, time.Second},
		"429 with Retry-After": {&chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: 3 * time.Second}, 3 * time.Second},
		"503 with Retry-After": {&chatapi.Error{Kind: chatapi.Temporary, Status: 503, RetryAfter: 4 * time.Second}, 4 * time.Second},
		"Retry-After, long":    {&chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: 200 * time.Second}, 200 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = failing("p", 2, c.err)
				r := w.start(Config{})
				for i := range 10 { // one is called for, the others must wait for the same
					w.publish(text("p", fmt.Sprint("text", i), "a"))
					time.Sleep(25 * time.Millisecond)
				}
				w.finish(r, time.Hour)
				calls := w.sent()
				for i := range 2 {
					next := slices.IndexFunc(calls, func(d call) bool { return d.at.After(calls[i].end) })
					if gap := calls[next].at.Sub(calls[i].end); gap < c.want || gap > c.want*3/2+time.Second {
						t.Errorf("wait %v, want %v", gap, c.want)
					}
				}
				if len(w.letters) != 0 {
					t.Errorf("%d letters", len(w.letters))
				}
			})
		})
	}
}

// A success of a call that began before does not open a gate that the API demanded to be closed.
func TestEarlierSuccessDoesNotOverrideRetryAfter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 1, &chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: 3 * time.Second})
		r := w.start(Config{Linger: -1})
		w.publish(text("p", "one", "a"))
		time.Sleep(10 * time.Millisecond)
		w.publish(text("p", "two", "a")) // succeeds 10 ms after the 429
		time.Sleep(20 * time.Millisecond)
		w.publish(text("p", "three", "a"))
		w.finish(r, time.Minute)
		calls := w.sent()
		if gap := calls[2].at.Sub(calls[0].end); gap < 3*time.Second {
			t.Errorf("called again after %v", gap)
		}
	})
}

// Nor is what a call demands forgotten because another failed before it.
func TestLaterRetryAfterCounts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(c call) (chatapi.Report, error) {
			switch c.n {
			case 0:
				return chatapi.Report{}, failure503()
			case 1:
				return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: 3 * time.Second}
			}
			return chatapi.Report{}, nil
		}
		r := w.start(Config{Linger: -1})
		w.publish(text("p", "one", "a"))
		time.Sleep(10 * time.Millisecond)
		w.publish(text("p", "two", "a"))
		w.finish(r, time.Minute)
		if gap := gaps(w.sent())[1]; gap < 3*time.Second {
			t.Errorf("called again after %v", gap)
		}
	})
}

func TestOneProbeAtATime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 3, failure503())
		r := w.start(Config{})
		w.publish(text("p", "first", "a"))
		time.Sleep(100 * time.Millisecond)
		for i := range 50 {
			w.publish(text("p", fmt.Sprint("text", i), "a"))
		}
		w.finish(r, time.Hour)
		calls := w.sent()
		for i := 1; i <= 4; i++ { // three failures, the probe that succeeds, then all
			if calls[i].at.Before(calls[i-1].end) {
				t.Errorf("call %d begins before call %d came back", i, i-1)
			}
		}
		if calls[5].at.After(calls[4].end.Add(time.Millisecond)) {
			t.Error("after the probe succeeded the others do not go together")
		}
	})
}

// Calls that were under way together when the API went down are one failure.
func TestManyFailuresAtOnceCountOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const n = 4 // a project begins with so many at once
		w.answer = failing("p", n, failure503())
		for i := range 64 {
			w.publish(text("p", fmt.Sprint("text", i), "a"))
		}
		r := w.start(Config{})
		w.finish(r, time.Hour)
		calls := w.sent()
		if gap := calls[n].at.Sub(calls[n-1].end); gap > gateFirst*3/2 {
			t.Errorf("the wait after 64 failures at once is %v", gap)
		}
	})
}

func TestUnreadable(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprint("may be delivered ", told), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = failing("p", 5, &chatapi.Error{Kind: chatapi.Unreadable, Status: 200, MayBeDelivered: told, Detail: "not JSON"})
				r := w.start(Config{})
				w.publish(text("p", "hello", "a", "b"))
				w.finish(r, time.Hour)
				if !told {
					if len(w.sent()) != 6 || len(w.letters) != 0 {
						t.Errorf("%d calls and %d letters, want 6 and none", len(w.sent()), len(w.letters))
					}
					return
				}
				if l := w.letter(queue.Ambiguous); len(w.sent()) != 5 || len(l.WovenIDs) != 2 || l.Attempts != 5 || l.Failures[0].Status != 200 {
					t.Errorf("%d calls, letter %+v", len(w.sent()), l)
				}
			})
		})
	}
}

// Giving up a part as ambiguous says nothing of the part beneath it, not even of an old job.
func TestAmbiguousPartLeavesTheOthers(t *testing.T) {
	for _, ids := range [][]string{{"old", "young"}, {"young", "old"}} { // either may be called first
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = func(c call) (chatapi.Report, error) {
				switch {
				case len(c.ids) == 2:
					return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Refused, Status: 400}
				case c.ids[0] == "young":
					return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Unreadable, Status: 200, MayBeDelivered: true}
				}
				return chatapi.Report{}, nil
			}
			r := w.start(Config{})
			for _, id := range ids {
				published := time.Now()
				if id == "old" {
					published = published.Add(-48 * time.Hour)
				}
				w.publish(text("p", "hello", id), publishedAt(published))
			}
			w.finish(r, time.Hour)
			if len(w.letters) != 1 || w.buried(queue.Ambiguous) != 1 {
				t.Errorf("letters %+v; want one, ambiguous", w.letters)
			}
		})
	}
}

// Of one job some recipients may have been told; the others are tried on through other failures.
func TestAmbiguousRecipientsLeaveTheOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mute, fails := "", 1
		w.answer = func(c call) (chatapi.Report, error) {
			switch {
			case len(c.ids) == 2:
				return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Refused, Status: 400}
			case mute == "" || mute == c.ids[0]:
				mute = c.ids[0]
				return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Unreadable, Status: 200, MayBeDelivered: true}
			case fails > 0:
				fails--
				return chatapi.Report{}, failure503()
			}
			return chatapi.Report{}, nil
		}
		r := w.start(Config{})
		w.publish(text("p", "hello", "a", "b"))
		w.finish(r, time.Hour)
		if l := w.letter(queue.Ambiguous); len(l.WovenIDs) != 1 || l.WovenIDs[0] != mute {
			t.Errorf("letter %+v, want only %s in it", l, mute)
		}
	})
}

func TestPanicWhileSending(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(c call) (chatapi.Report, error) {
			if c.project == "p" {
				panic("a nil map or so")
			}
			return chatapi.Report{}, nil
		}
		r := w.start(Config{RetryFor: time.Hour})
		w.publish(text("p", "hello", "a"))
		for i := range 10 {
			w.publish(text("q", "hello", fmt.Sprint("a", i)))
			time.Sleep(time.Second)
		}
		w.finish(r, 3*time.Hour)
		if l := w.letter(queue.Exhausted); len(l.Failures[0].Detail) > 600 || l.Attempts < 30 {
			t.Errorf("letter %+v", l)
		}
	})
}
