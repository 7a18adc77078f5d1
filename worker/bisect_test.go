package worker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// refusing answers 400 to every call that names a bad recipient.
func refusing(c call) (chatapi.Report, error) {
	if slices.ContainsFunc(c.ids, func(id string) bool { return strings.HasPrefix(id, "bad") }) {
		return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Refused, Status: 400, Detail: "woven_ids are bad"}
	}
	return chatapi.Report{}, nil
}

// bad makes some recipients bad.
func bad(ids []string, at ...int) []string {
	for _, i := range at {
		ids[i] = "bad-" + ids[i]
	}
	return ids
}

// exactlyBad checks that those who are bad are buried as refused and nobody else is buried.
func exactlyBad(t *testing.T, w *world) {
	t.Helper()
	for g, l := range w.letters {
		for _, id := range l.WovenIDs {
			if g.reason != queue.Refused || !strings.HasPrefix(id, "bad") {
				t.Errorf("%s is buried as %s", id, g.reason)
			}
		}
	}
	for _, r := range w.roots {
		for id, o := range r.outcome {
			if strings.HasPrefix(id, "bad") && o != string(queue.Refused) {
				t.Errorf("%s is %s", id, o)
			}
		}
	}
}

func TestRefusedRecipientsAreFound(t *testing.T) {
	every := func(n, step int) (at []int) {
		for i := 0; i < n; i += step {
			at = append(at, i)
		}
		return at
	}
	for name, c := range map[string]struct {
		recipients, each, calls int
		bad                     []int
	}{
		"one":                          {500, 500, 21, []int{77}},
		"the only one":                 {1, 1, 1, []int{0}},
		"one of two":                   {2, 1, 3, []int{1}},
		"four of 2,400":                {2400, 100, 79, []int{3, 700, 1500, 2399}},
		"adjacent at the start":        {500, 100, 60, []int{0, 1, 2, 3}},
		"adjacent at the end":          {500, 100, 60, []int{496, 497, 498, 499}},
		"jobs of one":                  {500, 1, 60, []int{0, 1, 498, 499}},
		"at regular distances":         {512, 64, 512, every(512, 64)},
		"the first recipient of each":  {496, 8, 992, every(496, 8)},
		"every other one":              {500, 2, 1000, every(500, 2)},
		"all of a job, none of others": {500, 5, 80, []int{100, 101, 102, 103, 104}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.answer = refusing
				ids := bad(people("a", c.recipients), c.bad...)
				for part := range slices.Chunk(ids, c.each) {
					w.publish(text("p", "hello", part...))
				}
				r := w.start(Config{MaxRecipients: 512})
				w.finish(r, time.Hour)
				exactlyBad(t, w)
				if n := w.buried(queue.Refused); n != len(c.bad) {
					t.Errorf("%d buried, want %d", n, len(c.bad))
				}
				if n := len(w.sent()); n > c.calls {
					t.Errorf("%d calls, want at most %d", n, c.calls)
				}
			})
		})
	}
}

func TestRefusedRecipientsAnywhere(t *testing.T) {
	for seed := range uint64(60) {
		inWorld(t, func(t *testing.T, w *world) {
			rng := rand.New(rand.NewPCG(seed, 0))
			n, size := 1+rng.IntN(500), 1+rng.IntN(20)
			count := min(n, rng.IntN(6))
			w.answer = refusing
			for part := range slices.Chunk(bad(people("a", n), rng.Perm(n)[:count]...), size) {
				w.publish(text("p", "hello", part...))
			}
			r := w.start(Config{})
			w.finish(r, time.Hour)
			exactlyBad(t, w)
			if calls := len(w.sent()); calls > 1+20*count {
				t.Errorf("%d calls for %d bad of %d", calls, count, n)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}

// When nobody gets a message, the message is at fault, and no more calls are spent on it.
func TestRefusedMessage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = failing("p", 1e6, &chatapi.Error{Kind: chatapi.Refused, Status: 400, Detail: "message is rude"})
		r := w.start(Config{})
		for i := range 50 {
			w.publish(text("p", "hello", people(fmt.Sprint("j", i), 10)...))
		}
		w.finish(r, time.Minute)
		if n := len(w.sent()); n > 40 || w.buried(queue.Refused) != 500 {
			t.Errorf("%d calls, %d buried; want at most 40, and 500", n, w.buried(queue.Refused))
		}
		for _, l := range w.letters {
			if !strings.Contains(l.Failures[0].Detail, "message is rude") || l.Failures[0].Status != 400 {
				t.Fatalf("letter %+v", l)
			}
		}
	})
}

// Whether a lease lapsed is asked for those, too, who are not called for any more.
func TestRefusedMessageAndLapsedLease(t *testing.T) {
	for lapse := range 40 { // during which call
		inWorld(t, func(t *testing.T, w *world) {
			lapsed := false
			w.answer = func(c call) (chatapi.Report, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				for l := range w.leases {
					if c.n == lapse && l.Job.WovenIDs[0] == "a-0" {
						w.lapse(l)
						lapsed = true
					}
				}
				return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Refused, Status: 400}
			}
			r := w.start(Config{})
			w.publish(text("p", "hello", people("a", 100)...))
			w.publish(text("p", "hello", people("b", 400)...))
			time.Sleep(redelivery - time.Second)
			if n := w.buried(queue.Refused); lapsed && (n != 400 || len(w.acks) != 1) {
				t.Errorf("lapsed during call %d: %d buried and %d acks, want 400 and 1", lapse, n, len(w.acks))
			}
			w.finish(r, time.Minute)
		})
	}
}

// A refusal that depends on the size of the call is no recipient's fault.
func TestTooLargeCall(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 7, 100, 300, 499} {
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = func(c call) (chatapi.Report, error) {
				if len(c.ids) > limit {
					return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Refused, Status: 413}
				}
				return chatapi.Report{}, nil
			}
			r := w.start(Config{})
			w.publish(text("p", "hello", people("a", 500)...))
			w.finish(r, time.Hour)
			if len(w.letters) != 0 {
				t.Errorf("limit %d: %d letters", limit, len(w.letters))
			}
			t.Logf("limit %d: %d calls", limit, len(w.sent()))
		})
	}
}

// A job whose recipients stand in several halves settles once, whatever comes between.
func TestTroubleWhileHalving(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer = func(c call) (chatapi.Report, error) {
			if c.n%3 == 2 {
				return chatapi.Report{}, failure503()
			}
			return refusing(c)
		}
		r := w.start(Config{})
		ids := bad(people("a", 300), 5, 250)
		w.publish(text("p", "hello", ids[:200]...))
		w.publish(text("p", "hello", ids[200:]...))
		w.finish(r, time.Hour)
		exactlyBad(t, w)
		if len(w.acks)+len(w.defers) < 2 || len(w.letters) != 2 {
			t.Errorf("%d acks, %d letters, want 2 letters", len(w.acks), len(w.letters))
		}
	})
}
