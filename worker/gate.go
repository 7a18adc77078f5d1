package worker

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/chatrelay/chatrelay/chatapi"
)

// How long gates close. The first failures are likely a blip, so the first wait is short; it grows
// so that after an outage the next probe comes within about half the time that the outage took, and
// to a minute at most, which keeps small what an outage costs after its end. A wrong credential or
// address is put right by people, who are not helped by hundreds of calls.
const (
	gateFirst  = 500 * time.Millisecond
	gateGrowth = 1.5
	gateJitter = 0.3
	gateMax    = time.Minute
	gateHuman  = 15 * time.Second // at least, for a wrong credential or address
	gateLimits = time.Second      // at least, for a 429 that names no time
	// gateMemory is how long after its end a closure is remembered of a project that has nothing to call
	// for: what comes then begins with a short wait.
	gateMemory = 10 * time.Minute
	// gateRemote bounds what another worker may ask for, however wrong its clock.
	gateRemote = time.Hour
)

// gate is a project's permission to call; elsewhere it is called a circuit breaker, whose "open" is
// our "closed". The zero value is open.
type gate struct {
	until  time.Time // closed before
	closed time.Time // when it was last closed
	// err is why it closed; nil after a success. While it is not nil, one call at a time goes:
	// a probe.
	err     *chatapi.Error
	backoff *backoff.ExponentialBackOff
}

// fail closes the gate after a call that began at some time, and returns for how long: give or take
// the jitter, a part of it. The many calls that were in flight together when the API went down count
// as one failure.
func (g *gate) fail(now, began time.Time, err *chatapi.Error, jitter float64) time.Duration {
	if g.err != nil && !began.After(g.closed) {
		if asked := demanded(err); asked > 0 {
			g.err, g.until = err, later(g.until, now.Add(asked))
		}
		return g.until.Sub(now)
	}
	if g.backoff == nil {
		g.backoff = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(gateFirst), backoff.WithMultiplier(gateGrowth), backoff.WithRandomizationFactor(jitter),
			backoff.WithMaxInterval(gateMax), backoff.WithMaxElapsedTime(0))
	}
	wait := max(g.backoff.NextBackOff(), demanded(err))
	g.err, g.closed, g.until = err, now, now.Add(wait)
	return wait
}

// demanded is how long the gate must stay closed whatever the backoff says.
func demanded(err *chatapi.Error) time.Duration {
	switch err.Kind {
	case chatapi.Credential, chatapi.Misconfigured:
		return max(gateHuman, err.RetryAfter)
	case chatapi.Limited:
		return max(gateLimits, err.RetryAfter)
	}
	return err.RetryAfter
}

// succeed opens the gate after a call that began at some time, and reports whether it was closed.
// That an earlier call got through is a reason to try again after a blip, but none to ignore what
// a 429 or a Retry-After demanded since, or that the credential was withdrawn.
func (g *gate) succeed(began time.Time) bool {
	if g.err == nil || !began.After(g.closed) && demanded(g.err) > 0 {
		return false
	}
	*g = gate{}
	return true
}

// probeNow lets the next probe of a closed gate go at once, and reports whether that changes anything.
func (g *gate) probeNow(now time.Time) bool {
	if g.err == nil || !g.until.After(now) {
		return false
	}
	g.until = now
	return true
}

// closeRemotely closes the gate because another worker's was, and reports whether that changes
// anything.
func (g *gate) closeRemotely(now time.Time, c Closure) bool {
	until := earlier(c.Until, now.Add(gateRemote))
	if !until.After(now) || !until.After(g.until) {
		return false
	}
	g.err = &chatapi.Error{Op: "reported by another worker", Kind: c.Kind, Status: c.Status}
	g.closed, g.until = now, until
	return true
}

// Closure asks that a project's gate be closed for a cause that holds for all workers: the
// API limits the project, or does not accept its credential.
type Closure struct {
	ProjectID string
	Until     time.Time // zero: probe now
	Kind      chatapi.Kind
	Status    int
}

// CloseGate closes a project's gate because another worker's was. It never blocks; of a flood of
// closures some are dropped, and the worker then finds out by a call of its own.
func (w *Worker) CloseGate(c Closure) {
	select {
	case w.closures <- c:
	default:
	}
}

// ProbeGate lets a project whose gate is closed have its next probe now, because the cause may be
// gone: its credential was replaced. It never blocks.
func (w *Worker) ProbeGate(projectID string) { w.CloseGate(Closure{ProjectID: projectID}) }
