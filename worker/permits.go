package worker

import "time"

// permits decides whether a call may begin, and says why not. It is the one place that does: what
// the worker as a whole may do, what one project may, and what one project must leave to others.
// It is a plain value; begin and end count the calls.
type permits struct {
	concurrency int
	reserve     int
	slowStart   int // calls of a project at once, before any of them came back
	limiter     limiter
	rate        rate    // of all projects
	jitter      float64 // of the time for which gates close
	// unconfirmed is, for each stream, what was delivered and is not known to be acked. What a worker that is
	// cut off from NATS calls for is delivered again by others.
	unconfirmed [streams]unconfirmed

	inFlight int // calls
	probes   int // of them, of projects whose gate is closed
	active   int // projects with calls in flight
}

// No call begins for jobs of a stream while the server is silent about it for longer than silentMost and
// sixteen jobs for each call that may be in flight are not confirmed. A busy server takes a while for one confirmation; it is
// silence that shows that it is gone.
const (
	silentMost      = 250 * time.Millisecond
	unconfirmedMost = 16
)

func newPermits(cfg Config) permits {
	return permits{
		concurrency: cfg.Concurrency, reserve: reserveOf(cfg.Concurrency), slowStart: max(4, cfg.Concurrency/16),
		limiter: newLimiter(cfg.Concurrency), rate: newRate(cfg.CallsPerSecond, cfg.RecipientsPerSecond), jitter: gateJitter,
	}
}

// reserveOf is how many of the last free slots are kept for projects with less than their share of
// the calls in flight, so that calls that hang never take all: one in 32, which costs the others
// little.
func reserveOf(concurrency int) int {
	if concurrency < 8 {
		return 0
	}
	return max(1, concurrency/32)
}

// acks says whether a call for jobs of a stream may begin, for all that is known of their acks.
func (p *permits) acks(now time.Time, stream int) verdict {
	u := p.unconfirmed[stream]
	if u.jobs >= unconfirmedMost*p.concurrency && !u.silent.IsZero() && now.Sub(u.silent) > silentMost {
		return verdict{cause: acksUnconfirmed}
	}
	return verdict{}
}

// any says whether a call of any project may begin.
func (p *permits) any(now time.Time) verdict {
	switch {
	case p.inFlight >= p.concurrency:
		return verdict{cause: noSlot}
	case p.spared() <= 0 && !p.firstCalls():
		return verdict{cause: limited}
	case p.rate.free.After(now):
		return verdict{cause: rateOfAll, until: p.rate.free}
	}
	return verdict{}
}

// spared is how many more calls the limiter allows. Probes do not count: they may take long, and say
// nothing about other projects' calls.
func (p *permits) spared() int { return p.limiter.calls() - (p.inFlight - p.probes) }

// firstCalls reports whether projects without a call in flight may have one although the limiter
// allows no more: while calls that began before it fell are in flight, which may hang and be one
// project's trouble. A quarter of what it allows may go beyond it in that way.
func (p *permits) firstCalls() bool {
	since := p.inFlight - p.probes - p.limiter.earlier // calls that began since it fell
	return p.limiter.earlier > 0 && since < max(1, p.reserve, p.limiter.calls()/4)
}

// of says whether a project's next call may begin, where one of any project may. After a failure
// one call at a time goes, a probe, and one of all that call with a credential that is not accepted; at first as few as slowStart, and one more for every success, so
// that a project whose calls hang is noticed before it has taken the slots of all.
func (p *permits) of(now time.Time, pr *project) verdict {
	switch g, c := &pr.gate, pr.credential; {
	case g.until.After(now):
		return verdict{gateClosed, g.until, g.err}
	case g.err != nil && pr.inFlight > 0:
		return verdict{cause: probing, err: g.err}
	case c.failing() && c.mayProbe(g).After(now):
		return verdict{sharedClosed, c.mayProbe(g), c.gate.err}
	case c.failing() && c.probing:
		return verdict{cause: sharedProbing, err: c.gate.err}
	case g.err == nil && pr.inFlight >= p.slowStart+pr.successes:
		return verdict{cause: slowStarting}
	case pr.rate.free.After(now):
		return verdict{cause: rateOfProject, until: pr.rate.free}
	}
	// The last free slots go only to projects with less than their share of the calls in flight, and
	// what goes beyond the limiter only to those with none.
	switch free := min(p.concurrency-p.inFlight, p.spared()); {
	case free <= 0 && pr.inFlight > 0:
		return verdict{cause: limited}
	case free <= p.reserve && pr.inFlight*p.sharers() >= p.concurrency:
		return verdict{cause: reserved}
	}
	return verdict{}
}

// sharers is among how many projects the slots are shared, for those who ask for the last ones: one
// more than have calls in flight, as somebody may come. Where many have, it is not one project's
// trouble if no call comes back.
func (p *permits) sharers() int {
	const many = 8
	if p.active < many {
		return p.active + 1
	}
	return p.active
}

// permit is what is remembered of a call that was granted.
type permit struct {
	probe bool // of a closed gate
	// shared is the credential of the project; probes whether the call probes its gate.
	shared *credential
	probes bool
	own    bool // what it meets says nothing of others; see judge
	again  bool // it is not the first for its jobs
	cuts   int  // how often the limiter had been halved by then
}

// begin counts a call that was granted.
func (p *permits) begin(now time.Time, pr *project, recipients int) permit {
	if pr.inFlight++; pr.inFlight == 1 {
		p.active++
	}
	p.inFlight++
	shared := pr.credential
	probe := pr.gate.err != nil || shared.failing()
	if probe {
		p.probes++
	}
	if shared.failing() {
		shared.probing = true
	}
	pr.rate.spend(now, recipients)
	p.rate.spend(now, recipients)
	return permit{probe: probe, shared: shared, probes: shared.failing(), cuts: p.limiter.cuts}
}

// giveBack counts a batch's call no longer.
func (p *permits) giveBack(b *batch) {
	pr := b.flow.project
	if pr.inFlight--; pr.inFlight == 0 {
		p.active--
	}
	p.inFlight--
	if b.permit.probe {
		p.probes--
	}
	if b.permit.probes {
		b.permit.shared.probing = false
	}
}

// end takes back the permit of a batch's call that began at some time, and adjusts the limiter and the
// project's gate and that of its credential. It returns how long what failed is to wait, and what became
// of both gates. Whoever fails alone, while others of the project succeed, waits alone.
func (p *permits) end(now, began time.Time, b *batch, res *result) (wait time.Duration, turn, shared gateTurn) {
	pr := b.flow.project
	p.giveBack(b)
	p.limiter.learn(now, b.key.project, b.permit, p.inFlight-p.probes, res.err)
	if c := b.permit.shared; c != nil {
		shared = c.ended(now, began, b.key.project, b.permit.probes, res, p.jitter)
	}
	switch {
	case res.accepted():
		if res.err == nil {
			pr.succeeded = now
			pr.successes = min(pr.successes+1, p.concurrency)
		}
		if pr.gate.succeed(began) {
			turn = gateOpened
		}
		return 0, turn, shared
	case b.permit.own && demanded(res.err) == 0:
		return 0, gateUntouched, shared
	}
	pr.successes = 0
	before := pr.gate.err
	wait = pr.gate.fail(now, began, res.err, b.key.message, b.permit.again, p.jitter)
	if pr.gate.wide || len(b.parts) > 0 {
		return wait, gateFailed, shared
	}
	pr.gate = gate{} // what failed is given up, and was all that did
	if before == nil {
		return 0, gateUntouched, shared
	}
	return 0, gateOpened, shared
}

// gateTurn is what a call's result did to its project's gate.
type gateTurn int

const (
	gateUntouched gateTurn = iota
	gateFailed             // it closed, or is suspicious
	gateOpened
)
