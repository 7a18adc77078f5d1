package chatapi

import (
	"context"
	"sync"
	"time"
)

// maxMargin is how long before its expiry a token is given up at the latest: long
// enough for a call that is about to leave, and for clocks that differ a little.
const maxMargin = 30 * time.Second

// fetchFunc gets a fresh token. A lifetime of zero means that the token endpoint
// named none.
type fetchFunc func(ctx context.Context) (token string, lifetime time.Duration, failure *Error)

// tokenCache holds one access token and sees to it that one refresh runs at a
// time, however many calls wait for it.
type tokenCache struct {
	op      string
	timeout time.Duration // of one fetch
	fetch   fetchFunc

	mu      sync.Mutex
	token   string    // "" for none
	renewAt time.Time // zero: the token serves until a 401
	running *refresh  // nil: none
}

// refresh is one fetch and those who wait for it. Its results are written before
// done is closed, and read after.
type refresh struct {
	done    chan struct{}
	token   string
	failure *Error
}

// get returns a token other than refused, the one that was just answered by 401
// ("" for none). It takes the cached one, or else the result of a refresh: the
// running one if there is one. A refresh that fails does so for all who wait for
// it, and the next get starts anew. When ctx ends first, the refresh goes on for
// the others.
func (c *tokenCache) get(ctx context.Context, refused string) (string, *Error) {
	c.mu.Lock()
	if c.token == refused {
		c.token = "" // nobody else need try it
	}
	if c.token != "" && (c.renewAt.IsZero() || time.Now().Before(c.renewAt)) {
		defer c.mu.Unlock()
		return c.token, nil
	}
	r := c.running
	if r == nil {
		r = &refresh{done: make(chan struct{})}
		c.running = r
		go c.refresh(r) //nolint:gosec // not with ctx: other callers wait for the same token
	}
	c.mu.Unlock()

	select {
	case <-r.done:
		return r.token, r.failure
	case <-ctx.Done():
		failure := interrupted(ctx, ctx.Err(), c.timeout, nil)
		failure.Op, failure.Unsent = c.op, true
		return "", failure
	}
}

// refresh runs apart from any caller's context, bounded by its own timeout.
func (c *tokenCache) refresh(r *refresh) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	asked := time.Now() // the token may have been made as early as this
	token, lifetime, failure := c.fetch(ctx)
	if failure != nil {
		failure.Unsent = true
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	r.token, r.failure = token, failure
	if failure == nil {
		c.token, c.renewAt = token, time.Time{}
		if lifetime != 0 {
			c.renewAt = asked.Add(lifetime - min(maxMargin, lifetime/10))
		}
	}
	c.running = nil
	close(r.done)
}
