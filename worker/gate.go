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
)

// gate is a project's permission to call. The zero value is open.
type gate struct {
	until  time.Time // closed before
	closed time.Time // when it was last closed
	// err is why it closed; nil after a success. While it is not nil, one call at a time goes:
	// a probe.
	err     *chatapi.Error
	backoff *backoff.ExponentialBackOff
}

// fail closes the gate after a call that began at some time, and tells for how long. The many
// calls that were under way together when the API went down count as one failure.
func (g *gate) fail(now, began time.Time, err *chatapi.Error) time.Duration {
	if g.err != nil && began.Before(g.closed) {
		if asked := demanded(err); asked > 0 {
			g.err, g.until = err, later(g.until, now.Add(asked))
		}
		return g.until.Sub(now)
	}
	if g.backoff == nil {
		g.backoff = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(gateFirst), backoff.WithMultiplier(gateGrowth), backoff.WithRandomizationFactor(gateJitter),
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

// succeed opens the gate after a call that began at some time, and tells whether it was closed.
// That an earlier call got through is a reason to try again after a blip, but none to ignore what
// a 429 or a Retry-After demanded since, or that the credential was withdrawn.
func (g *gate) succeed(began time.Time) bool {
	if g.err == nil || began.Before(g.closed) && demanded(g.err) > 0 {
		return false
	}
	*g = gate{}
	return true
}

// Closure tells that a project's gate is to be closed for a cause that holds for all workers: the
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

// shut closes a project's gate because another worker's was. When it opens each worker probes.
func (s *schedule) shut(now time.Time, c Closure) {
	if c.Until.IsZero() {
		if p := s.projects[c.ProjectID]; p != nil && p.gate.err != nil && p.gate.until.After(now) {
			p.gate.until = now
			s.placeAll(now, p)
		}
		return
	}
	// However wrong the other's clock, no gate closes for longer than the API can ask for.
	until := c.Until
	if most := now.Add(time.Hour); until.After(most) {
		until = most
	}
	if !until.After(now) {
		return
	}
	p := s.project(c.ProjectID)
	if !until.After(p.gate.until) {
		return
	}
	p.gate.err = &chatapi.Error{Op: "told by another worker", Kind: c.Kind, Status: c.Status}
	p.gate.closed, p.gate.until = now, until
	if until.Sub(now) > deferAfter {
		s.evict(now, p)
	}
	s.placeAll(now, p)
}

// trouble is the kind of failure for which a project's gate is closed; empty when it is not.
func (s *schedule) trouble(id string) chatapi.Kind {
	if p := s.projects[id]; p != nil && p.gate.err != nil {
		return p.gate.err.Kind
	}
	return ""
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
