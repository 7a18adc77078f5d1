package chatapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// How long nobody asks the token endpoint after a failure. It is the endpoint's pause, whatever
// became of the calls: hundreds of projects may share a credential, and all would ask.
const (
	tokenPauseFirst  = time.Second
	tokenPauseGrowth = 2
	tokenPauseJitter = 0.2
	tokenPauseMax    = time.Minute
)

// forcedEvery is how often a 401 may have a token replaced that has not expired. While a key
// rotates, some servers of the API refuse whatever token others take: a token fetched for each
// refusal would help nobody, and load the token endpoint as much as the calls load the API.
const forcedEvery = time.Second

// tokenPatience is how long a call waits for a token server that does not answer, counted from the
// request. A call that waits keeps others, with another credential, from being made; the request itself
// has its full time.
const tokenPatience = time.Second

// fetchFunc gets a fresh token. A lifetime of zero means that the token endpoint
// named none.
type fetchFunc func(ctx context.Context) (token string, lifetime time.Duration, failure *Error)

// tokenCache holds one access token and sees to it that one request for another runs at a
// time, however many calls want one.
//
//	half of its life ─▶ the next call has it replaced, and goes with the old one, as do all others
//	its end, a 401   ─▶ the calls concerned wait for the fresh one, for a second at most
//	a failed request ─▶ a pause: until it is over, who cannot do without a fresh token gets the failure
type tokenCache struct {
	op       string
	timeout  time.Duration // of one fetch
	patience time.Duration // of a call that waits for one
	longest  time.Duration // that the endpoint may ask to wait
	fetch    fetchFunc

	mu      sync.Mutex
	token   string    // "" for none
	renewAt time.Time // zero, as expires: the token serves until a 401
	expires time.Time
	forced  time.Time // when a refresh that a 401 had begun last ended
	running *refresh  // nil: none
	// Since a 401 last began a refresh: how often the token went out, and how often it was refused.
	handed, refusals int

	failure *Error // of the last fetch; nil: it succeeded
	resume  time.Time
	pauses  *backoff.ExponentialBackOff // nil: there was no failure yet
}

// refresh is one fetch and those who wait for it. Its results are written before
// done is closed, and read after.
type refresh struct {
	done    chan struct{}
	began   time.Time
	forced  bool
	token   string
	failure *Error
}

// get returns a token; refused is the one that was just answered by 401 ("" for none), and is
// returned again only if another was fetched on account of a 401 just before. A refresh that fails
// does so for all who wait for it. When ctx or the patience for it ends first, the refresh goes on.
func (c *tokenCache) get(ctx context.Context, refused string) (string, *Error) {
	return c.wait(ctx, refused, c.patience)
}

// check is get with all the time that a refresh may take.
func (c *tokenCache) check(ctx context.Context) *Error {
	_, failure := c.wait(ctx, "", c.timeout+c.patience)
	return failure
}

func (c *tokenCache) wait(ctx context.Context, refused string, patience time.Duration) (string, *Error) {
	r, token, failure := c.now(refused)
	if r == nil {
		return token, failure
	}
	timer := time.NewTimer(time.Until(r.began.Add(patience)))
	defer timer.Stop()
	select {
	case <-r.done:
		return r.token, r.failure
	case <-ctx.Done():
		failure = interrupted(ctx, ctx.Err(), c.timeout, nil)
	case <-timer.C:
		failure = &Error{Kind: Temporary, RetryAfter: tokenPauseFirst, Detail: fmt.Sprintf("no answer within %v; it is still waited for, though not by this call", patience)}
	}
	failure.Op, failure.Unsent = c.op, true
	return "", failure
}

// now is get as far as it does not wait: it returns what can be said at once, or else the
// refresh to wait for.
func (c *tokenCache) now(refused string) (*refresh, string, *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.token != "" && c.token == refused {
		c.refusals++
	}
	lives := c.token != "" && (c.expires.IsZero() || now.Before(c.expires)) && !c.revoked()
	rejected := lives && c.token == refused
	paused := c.failure != nil && now.Before(c.resume)
	if lives && !rejected {
		if c.running == nil && !paused && !c.renewAt.IsZero() && !now.Before(c.renewAt) {
			c.start(false)
		}
		c.handed++
		return nil, c.token, nil
	}
	switch {
	case c.running != nil:
	case paused:
		return nil, "", c.failure.pausedFor(c.resume.Sub(now))
	case rejected && now.Sub(c.forced) < forcedEvery:
		return nil, c.token, nil
	default:
		c.start(rejected)
	}
	return c.running, "", nil
}

// revoked reports whether the API refuses the token for good, most calls with it and not one now and
// then, and there is no other, because the token server fails: every call would be in vain.
func (c *tokenCache) revoked() bool {
	return c.failure != nil && c.refusals >= 10 && 4*c.refusals >= 3*c.handed
}

// start begins a refresh, apart from any caller's context: other callers wait for the same token.
func (c *tokenCache) start(forced bool) {
	c.running = &refresh{done: make(chan struct{}), began: time.Now(), forced: forced}
	if forced {
		c.handed, c.refusals = 0, 0
	}
	go c.refresh(c.running)
}

// refresh is bounded by its own timeout.
func (c *tokenCache) refresh(r *refresh) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	token, lifetime, failure := c.fetch(ctx)
	now := time.Now()

	c.mu.Lock()
	defer c.mu.Unlock()
	if failure != nil {
		failure.Unsent = true
		c.pause(now, failure)
		failure = failure.pausedFor(c.resume.Sub(now))
	} else {
		c.token, c.renewAt, c.expires, c.failure, c.pauses = token, time.Time{}, time.Time{}, nil, nil
		c.handed, c.refusals = 0, 0
		if lifetime > 0 {
			// Half a life is time for a slow answer, and for many tries if the endpoint is down. The
			// token may be as old as the request. Its end is taken to be the latest possible: one that
			// is tried too late costs a 401 and nothing else.
			c.renewAt, c.expires = r.began.Add(lifetime/2), now.Add(lifetime)
		}
	}
	if r.forced {
		c.forced = now
	}
	r.token, r.failure, c.running = token, failure, nil
	close(r.done)
}

// pause remembers a failure for as long as the endpoint asks, but at least for what the backoff says.
func (c *tokenCache) pause(now time.Time, failure *Error) {
	if c.pauses == nil {
		c.pauses = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(tokenPauseFirst), backoff.WithMultiplier(tokenPauseGrowth), backoff.WithRandomizationFactor(tokenPauseJitter),
			backoff.WithMaxInterval(tokenPauseMax), backoff.WithMaxElapsedTime(0))
	}
	wait := c.pauses.NextBackOff()
	if left := c.expires.Sub(now); left > 0 && wait >= left {
		// From the end of the old token on calls wait for the new one, so that is when it is worth
		// the most; what was in vain before harmed nobody.
		wait = left
		c.pauses.Reset()
	}
	c.failure, c.resume = failure, now.Add(max(wait, min(failure.RetryAfter, c.longest)))
}

// pausedFor returns a copy of e that asks to wait so long, in whole milliseconds.
func (e *Error) pausedFor(left time.Duration) *Error {
	paused := *e
	paused.RetryAfter = (left + time.Millisecond - 1).Truncate(time.Millisecond)
	return &paused
}
