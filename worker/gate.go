package worker

import (
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/chatrelay/chatrelay/chatapi"
)

// How long gates close. The first failures are likely a blip, so the first wait is short; it grows
// so that after an outage the next probe comes within about a third of the time that the outage took, and
// to a minute at most, which keeps small what an outage costs after its end.
const (
	gateFirst  = 500 * time.Millisecond
	gateGrowth = 1.35
	gateJitter = 0.3
	gateMax    = time.Minute
	gateLimits = time.Second // at least, for a 429 that names no time
	// gateProbes is how many messages probe a gate in a row, while each may itself be why its call fails:
	// a few bad ones, one behind another, do not hold the others back for long.
	gateProbes = 3
	// gateMemory is how long after its end a closure is remembered of a project that has nothing to call
	// for: what comes then begins with a short wait.
	gateMemory = 10 * time.Minute
	// gateRemote bounds for how long other workers' words, which may be anybody's, keep calls back.
	gateRemote = time.Hour
)

// gate is a project's permission to call; elsewhere it is called a circuit breaker, whose "open" is
// our "closed". The zero value is open.
//
//	open ─▶ suspicious  one message failed: it waits, others go, one call at a time
//	     ─▶ closed      another failed as well, or another call for it in a way that no message causes, or
//	                    the API asked for a pause: all wait
//
// A success opens it.
type gate struct {
	until  time.Time // closed before
	closed time.Time // when it was last closed
	// err is why it closed, or is suspicious; nil after a success. While it is not nil, one call at a
	// time goes: a probe.
	err     *chatapi.Error
	wide    bool      // it is not only suspect that fails
	suspect string    // the message that failed first
	retry   time.Time // when it goes again, while it is the only one
	probes  int       // of other messages that failed since the gate last closed
	failed  int       // calls since it was open
	// hopeless says that suspect was called for in ever smaller calls, and nobody was accepted.
	hopeless bool
	byWord   time.Time // when it was closed by another worker's word, and no call ended since; zero: it was not
	backoff  *backoff.ExponentialBackOff
}

// fail takes down that a call for a message failed, which began at some time, again if it was not the
// first for its jobs, and returns how long the message is to wait, give or take the jitter, a part of it. The
// many calls that were in flight together when the API went down count as one failure.
func (g *gate) fail(now, began time.Time, err *chatapi.Error, message string, again bool, jitter float64) time.Duration {
	asked := demanded(err)
	g.failed++
	g.byWord = time.Time{}
	switch {
	case asked == 0 && !err.Unsent && (g.err == nil || !g.wide && g.suspect == message && (again || err.MayConcernMessage())):
		g.err, g.closed, g.until, g.suspect = err, now, now, message
		if !g.retry.After(now) { // what is called for in smaller calls counts as one failure
			g.retry = now.Add(g.next(jitter))
		}
		return g.retry.Sub(now)
	case g.wide && !began.After(g.closed):
		if asked > 0 {
			g.err, g.until = err, later(g.until, now.Add(asked))
		}
		if wait := g.until.Sub(now); wait > 0 {
			return wait
		}
		return gateFirst
	case g.wide && asked == 0 && err.MayConcernMessage() && g.probes+1 < gateProbes:
		g.err, g.closed = err, now
		g.probes++
		return gateFirst
	}
	if !g.wide && g.backoff != nil {
		g.backoff.Reset() // what the message waited so far was its own
	}
	wait := max(g.next(jitter), asked)
	g.err, g.closed, g.until, g.wide, g.probes = err, now, now.Add(wait), true, 0
	return wait
}

// next is the next wait of its backoff.
func (g *gate) next(jitter float64) time.Duration {
	if g.backoff == nil {
		g.backoff = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(gateFirst), backoff.WithMultiplier(gateGrowth), backoff.WithRandomizationFactor(jitter),
			backoff.WithMaxInterval(gateMax), backoff.WithMaxElapsedTime(0))
	}
	return g.backoff.NextBackOff()
}

// closedFor is how long all calls of the project have to wait.
func (g *gate) closedFor(now time.Time) time.Duration {
	return max(0, g.until.Sub(now)) // of one that is suspicious, until has passed
}

// demanded is how long the gate must stay closed whatever the backoff says.
func demanded(err *chatapi.Error) time.Duration {
	if err.Kind == chatapi.Limited {
		return max(gateLimits, err.RetryAfter)
	}
	return err.RetryAfter
}

// succeed opens the gate after a call that began at some time, and reports whether it was closed.
// That an earlier call got through is a reason to try again after a blip, but none to ignore what
// a 429 or a Retry-After demanded since.
func (g *gate) succeed(began time.Time) bool {
	if g.err == nil || !began.After(g.closed) && demanded(g.err) > 0 {
		return false
	}
	*g = gate{}
	return true
}

// probeAt lets the next probe of a closed gate go at a time if that is sooner, and reports whether it is
// closed.
func (g *gate) probeAt(at time.Time) bool {
	if g.err == nil {
		return false
	}
	g.until = earlier(g.until, at)
	return true
}

// closeByWord closes the gate because another worker's closed, and reports whether that changes anything.
// By word alone it closes for gateRemote at most, from the first word on: then a call tells the truth.
func (g *gate) closeByWord(now time.Time, c Closure) bool {
	first := g.byWord
	if first.IsZero() {
		first = now
	}
	until := earlier(now.Add(c.Wait), first.Add(gateRemote))
	if !until.After(later(g.until, now)) {
		return false
	}
	g.err = &chatapi.Error{Op: "closed by word of worker " + c.From, Kind: c.Kind, Status: c.Status}
	g.closed, g.until, g.wide, g.probes, g.byWord = now, until, true, 0, first
	return true
}

// Closure asks that a project's gate be closed for a cause that holds for all workers: the
// API limits the project, or does not accept its credential.
type Closure struct {
	ProjectID string
	Wait      time.Duration // from now on; 0: nothing
	Kind      chatapi.Kind
	Status    int    // of HTTP
	From      string // the worker that says so, for people
}

// CloseGate closes a project's gate because another worker's was, if this one has anything to do for the
// project; an [EventGate] with From says that it did. It never blocks; of a flood of closures some are
// dropped, and the worker then finds out by a call of its own.
func (w *Worker) CloseGate(c Closure) {
	select {
	case w.closures <- c:
	default:
	}
}

// CredentialsChanged has the worker ask Config.Credential anew for every project. The gates of those with
// another credential are probed soon, whatever they were closed for. It never blocks.
func (w *Worker) CredentialsChanged() {
	select {
	case w.changed <- struct{}{}:
	default: // it has not looked yet since the last one
	}
}
