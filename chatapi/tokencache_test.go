package chatapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// tokenWorld is a token endpoint of which time and answers are known, and the cache before it.
type tokenWorld struct {
	tokenCache
	t        *testing.T
	began    time.Time
	lifetime time.Duration
	took     time.Duration
	fails    *Error // nil: it issues token-1, token-2, …
	issued   int
	asked    []time.Duration // when, since the beginning
}

// inTokenWorld runs test with time that passes only while all wait.
func inTokenWorld(t *testing.T, lifetime time.Duration, test func(*tokenWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &tokenWorld{t: t, began: time.Now(), lifetime: lifetime}
		w.timeout, w.patience, w.longest = time.Minute, tokenPatience, 30*time.Minute
		w.fetch = func(context.Context) (string, time.Duration, *Error) {
			w.asked = append(w.asked, time.Since(w.began))
			time.Sleep(w.took)
			if w.fails != nil {
				failure := *w.fails
				return "", 0, &failure
			}
			w.issued++
			return fmt.Sprint("token-", w.issued), w.lifetime, nil
		}
		test(w)
		synctest.Wait()
	})
}

// has demands a token; refused is what get is told of.
func (w *tokenWorld) has(refused, want string) {
	w.t.Helper()
	token, failure := w.get(w.t.Context(), refused)
	if token != want || failure != nil {
		w.t.Errorf("at %v: %q, %v; want %s", time.Since(w.began), token, failure, want)
	}
	synctest.Wait() // for what it began beside
}

// hasNone demands that there is none, and returns why.
func (w *tokenWorld) hasNone() *Error {
	w.t.Helper()
	token, failure := w.get(w.t.Context(), "")
	if token != "" || failure == nil || !failure.Unsent {
		w.t.Fatalf("at %v: %q, %+v; want an unsent failure", time.Since(w.began), token, failure)
	}
	return failure
}

func (w *tokenWorld) at(d time.Duration) { time.Sleep(d - time.Since(w.began)) }

func TestTokenIsReplacedBesideTheCalls(t *testing.T) {
	inTokenWorld(t, 40*time.Second, func(w *tokenWorld) {
		w.has("", "token-1")
		w.took = 15 * time.Second
		w.at(20*time.Second - 1)
		w.has("", "token-1")
		if len(w.asked) != 1 {
			t.Errorf("asked at %v, before half of its life", w.asked)
		}
		for second := range 15 {
			w.at(time.Duration(20+second) * time.Second)
			w.has("", "token-1")
		}
		w.at(35 * time.Second)
		synctest.Wait()
		w.has("", "token-2")
		if want := []time.Duration{0, 20 * time.Second}; !slices.Equal(w.asked, want) {
			t.Errorf("asked at %v, want %v", w.asked, want)
		}
		w.at(10 * time.Minute) // nobody calls, so nobody asks
		w.took = 0
		w.has("", "token-3")
		if len(w.asked) != 3 {
			t.Errorf("an idle client asked at %v", w.asked)
		}
	})
}

func TestTokenWithoutAnEndServesUntilA401(t *testing.T) {
	inTokenWorld(t, 0, func(w *tokenWorld) {
		w.has("", "token-1")
		w.at(1000 * time.Hour)
		w.has("", "token-1")
		w.has("token-0", "token-1") // an old one was refused
		w.has("token-1", "token-2")
	})
}

// While the endpoint is down, the old token serves to its very end; then calls wait, and the endpoint is
// asked as if it had just failed.
func TestTokenServesUntilItsEnd(t *testing.T) {
	inTokenWorld(t, 40*time.Second, func(w *tokenWorld) {
		w.has("", "token-1")
		w.fails = &Error{Kind: Temporary, Status: 503}
		for w.at(20 * time.Second); time.Since(w.began) < 40*time.Second; time.Sleep(100 * time.Millisecond) {
			w.has("", "token-1")
		}
		if n := len(w.asked); n < 4 || n > 7 {
			t.Errorf("asked at %v, want a growing pause", w.asked)
		}
		before := len(w.asked)
		if failure := w.hasNone(); failure.Status != 503 || len(w.asked) != before+1 || failure.RetryAfter > 1200*time.Millisecond {
			t.Errorf("at its end: %v, asked at %v", failure, w.asked)
		}
		w.fails = nil
		time.Sleep(1200 * time.Millisecond)
		w.has("", "token-2")
	})
}

// A failure is one request, however many want a token, and none in the pause that it begins.
func TestTokenFailureIsRemembered(t *testing.T) {
	for name, tc := range map[string]struct {
		failure  Error
		min, max []time.Duration // of the pauses, in order
	}{
		"backoff": {Error{Kind: Temporary, Status: 503},
			[]time.Duration{800 * time.Millisecond, 1600 * time.Millisecond, 3200 * time.Millisecond, 6400 * time.Millisecond, 12800 * time.Millisecond, 25600 * time.Millisecond, 48 * time.Second, 48 * time.Second},
			[]time.Duration{1200 * time.Millisecond, 2400 * time.Millisecond, 4800 * time.Millisecond, 9600 * time.Millisecond, 19200 * time.Millisecond, 38400 * time.Millisecond, 72 * time.Second, 72 * time.Second}},
		"wrong credential": {Error{Kind: Credential, Status: 401}, []time.Duration{800 * time.Millisecond}, []time.Duration{1200 * time.Millisecond}},
		"asked to wait":    {Error{Kind: Limited, Status: 429, RetryAfter: time.Minute}, []time.Duration{time.Minute}, []time.Duration{time.Minute}},
		"for too long":     {Error{Kind: Limited, Status: 429, RetryAfter: time.Hour}, []time.Duration{30 * time.Minute}, []time.Duration{30 * time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			inTokenWorld(t, time.Minute, func(w *tokenWorld) {
				w.fails = &tc.failure
				for i := range tc.min {
					first := w.hasNone()
					pause := first.RetryAfter
					if pause < tc.min[i] || pause > tc.max[i]+time.Millisecond {
						t.Errorf("pause %d: %v, want %v to %v", i+1, pause, tc.min[i], tc.max[i])
					}
					if first.Kind != tc.failure.Kind || first.Status != tc.failure.Status {
						t.Errorf("%v", first)
					}
					time.Sleep(pause / 2)
					if again := w.hasNone(); again == first || again.Status != first.Status || again.RetryAfter > pause/2+time.Millisecond || again.RetryAfter < pause/2-time.Millisecond {
						t.Errorf("half of the pause later: %v after %v", again, first)
					}
					if len(w.asked) != i+1 {
						t.Fatalf("asked at %v", w.asked)
					}
					time.Sleep(pause)
				}
				w.fails = nil
				w.has("", "token-1")
				w.fails = &tc.failure
				w.at(24 * time.Hour)
				if failure := w.hasNone(); failure.RetryAfter > tc.max[0]+time.Millisecond {
					t.Errorf("after a success: %v, want the first pause", failure)
				}
			})
		})
	}
}

// One whose time is up says nothing of the endpoint.
func TestTokenOfAnImpatientCaller(t *testing.T) {
	inTokenWorld(t, time.Minute, func(w *tokenWorld) {
		w.took = 900 * time.Millisecond
		ctx, cancel := context.WithTimeout(w.t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, failure := w.get(ctx, ""); !errors.Is(failure, context.DeadlineExceeded) || failure.RetryAfter != 0 {
			t.Errorf("impatient: %v", failure)
		}
		w.has("", "token-1")
		if len(w.asked) != 1 {
			t.Errorf("asked at %v", w.asked)
		}
	})
}

// Calls do not wait long for a token server that does not answer; a check does.
func TestTokenServerThatHangs(t *testing.T) {
	inTokenWorld(t, time.Minute, func(w *tokenWorld) {
		w.took = 10 * time.Second
		for _, at := range []time.Duration{0, time.Second, 3 * time.Second} {
			w.at(at)
			failure := w.hasNone()
			if waited := time.Since(w.began); failure.Kind != Temporary || failure.RetryAfter != time.Second || waited != max(at, time.Second) {
				t.Errorf("asked at %v: %v at %v", at, failure, waited)
			}
		}
		if failure := w.check(w.t.Context()); failure != nil || time.Since(w.began) != 10*time.Second {
			t.Errorf("a check: %v after %v", failure, time.Since(w.began))
		}
		w.has("", "token-1")
		if len(w.asked) != 1 {
			t.Errorf("asked at %v", w.asked)
		}
	})
}

// While a key rotates, now and then a server refuses what others take.
func TestTokenThatIsRefusedNowAndThen(t *testing.T) {
	inTokenWorld(t, 5*time.Minute, func(w *tokenWorld) {
		w.has("", "token-1")
		w.has("token-1", "token-2") // the first time at once
		w.has("token-1", "token-2")
		w.has("token-2", "token-2") // it is all there is
		w.at(time.Second)
		w.took = 900 * time.Millisecond
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.has("token-2", "token-3")
		}()
		synctest.Wait()
		w.has("", "token-2") // others do not wait for it
		<-done
		for range 200 {
			token, _ := w.get(w.t.Context(), "")
			w.get(w.t.Context(), token)
			time.Sleep(20 * time.Millisecond)
		}
		if n := len(w.asked); n > 7 {
			t.Errorf("asked at %v", w.asked)
		}
	})
}

// A token that is always refused is given up while the token server fails; one that is refused now and then
// serves on.
func TestTokenThatIsRefusedWhileTheServerFails(t *testing.T) {
	for name, tc := range map[string]struct{ every, calls int }{"always": {1, 14}, "one in three": {3, 2000}} {
		t.Run(name, func(t *testing.T) {
			inTokenWorld(t, 0, func(w *tokenWorld) {
				w.has("", "token-1")
				for range 1000 { // before the trouble
					w.has("", "token-1")
				}
				w.fails = &Error{Kind: Temporary, Status: 503}
				calls := 0
				for n := range 2000 {
					token, failure := w.get(w.t.Context(), "")
					if failure == nil {
						calls++
						if n%tc.every == 0 {
							w.get(w.t.Context(), token)
						}
					}
					time.Sleep(10 * time.Millisecond)
				}
				if calls > tc.calls || tc.every > 1 && calls < tc.calls {
					t.Errorf("%d calls of 2000 were made with it, want %d", calls, tc.calls)
				}
				if n := len(w.asked); n > 8 {
					t.Errorf("asked at %v", w.asked)
				}
				w.fails = nil
				time.Sleep(time.Minute)
				if tc.every == 1 {
					w.has("", "token-2")
				} else {
					w.has("token-1", "token-2")
				}
			})
		})
	}
}
