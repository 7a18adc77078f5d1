package worker

import (
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// A stream is first in, first out, so the jobs of one project could fill the window and keep those
// of others from being read at all. A project's share of the window is therefore a time: as many
// jobs as it would be served in shareTime if it had all calls for itself, less when several such
// shares do not fit. When the window begins to fill, the excess is deferred to the times at which
// its turn can come. Projects that are served fast have shares larger than the window, and nothing
// of theirs is deferred.
const (
	shareTime = 2 * time.Second
	// shareCheck is how often shares are looked at while the window is filling.
	shareCheck = 50 * time.Millisecond
	// shareMeasure is how long a project must have been served before its rate is known.
	shareMeasure = 250 * time.Millisecond
	// A plan that is too late leaves slots idle, one that is too early only fills the window of
	// what came due, which holds up no new jobs. So plans are early: by shareEarly times the rate,
	// from shareSoonest on, which is before what is kept runs out.
	shareEarly   = 2
	shareSoonest = time.Second
	// shareLongest bounds a plan: the rate of five minutes ahead is anybody's guess.
	shareLongest = 5 * time.Minute
	// shareDeferrals is how often a job is deferred for its project's excess; after that it stays, unless the window
	// is nearly full.
	shareDeferrals = 2
)

// meter measures how a project's jobs are served, in windows of shareMeasure.
type meter struct {
	since time.Time
	jobs  int           // called for since then
	spent time.Duration // by their calls
	// rate is how many jobs were served a second, and each how long a slot was taken for one job.
	// Zero: not known yet.
	rate float64
	each time.Duration
}

// start begins to measure afresh, after a time without jobs.
func (m *meter) start(now time.Time) { *m = meter{since: now} }

// count records a call.
func (m *meter) count(now time.Time, jobs int, took time.Duration) {
	m.jobs += jobs
	m.spent += took
	if passed := now.Sub(m.since); passed >= shareMeasure && m.jobs > 0 {
		rate, each := float64(m.jobs)/passed.Seconds(), m.spent/time.Duration(m.jobs)
		if m.rate > 0 {
			rate, each = (m.rate+rate)/2, (m.each+each)/2
		}
		*m = meter{since: now, rate: rate, each: each}
	}
}

// alone is how many jobs a second the project would be served if it had so many slots for itself.
func (p *project) alone(slots int) float64 {
	if p.meter.rate == 0 {
		return 0
	}
	rate := float64(slots) / max(p.meter.each, time.Microsecond).Seconds()
	if p.rate.limited() { // then it is not the slots that it waits for
		rate = p.meter.rate
	}
	return max(rate, p.meter.rate)
}

// served is what of its jobs, as large as those that wait, the project would be served in a part of shareTime if it
// had so many slots for itself.
func (p *project) served(slots int, part float64) amount {
	return p.waiting.times(p.alone(slots) * shareTime.Seconds() * part / float64(max(1, p.waiting.jobs)))
}

// hold and letGo keep count of what waits for a call.
func (s *schedule) hold(now time.Time, p *project, a amount) {
	if p.waiting.jobs == 0 && p.inFlight == 0 {
		p.meter.start(now)
	}
	p.waiting, s.waiting = p.waiting.plus(a), s.waiting.plus(a)
	s.recount(p)
}

func (s *schedule) letGo(b *batch) {
	p := b.flow.project
	p.waiting, s.waiting = p.waiting.minus(b.amount), s.waiting.minus(b.amount)
	s.recount(p)
}

// filling reports whether so much of the window waits for calls that shares matter.
func (s *schedule) filling() bool { return s.waiting.fills(s.room()) >= 1./4 }

// countBehind takes down whether more is queued behind a job that came.
func (s *schedule) countBehind(now time.Time, l *queue.Lease) {
	switch since := &s.behind[streamOf(l)]; {
	case l.Behind == 0:
		*since = time.Time{}
	case since.IsZero():
		*since = now
	}
	s.tight = slices.ContainsFunc(s.behind[:], func(since time.Time) bool { return !since.IsZero() && now.Sub(since) > shareTime })
}

// room is how much may wait here: the window, or what does wait if more than that is queued for long. The queue
// bounds what all workers hold together, so that one may never get its window full.
func (s *schedule) room() amount {
	if s.tight {
		return s.cfg.window().atMost(s.waiting.atLeast(s.leastShare()))
	}
	return s.cfg.window()
}

// leastShare is what a project may always have waiting: enough for a few rounds of calls, unless it is large.
func (s *schedule) leastShare() amount {
	return amount{4 * s.cfg.Concurrency, s.cfg.window().bytes / 16}
}

// rebalanceAt is when rebalance is to be called next; zero: not until something changes.
func (s *schedule) rebalanceAt() time.Time {
	if !s.filling() {
		return time.Time{}
	}
	return s.rebalanced.Add(shareCheck)
}

// rebalance returns what projects hold beyond their share while the window is filling, to be
// deferred.
func (s *schedule) rebalance(now time.Time) (deferred []*task) {
	if !s.filling() || now.Sub(s.rebalanced) < shareCheck {
		return nil
	}
	s.rebalanced = now
	var wanted float64 // of the window
	for _, p := range s.projects {
		wanted += p.served(s.cfg.Concurrency, 1).atMost(p.waiting).fills(s.room())
	}
	fits := min(1, 1./2/max(wanted, 1e-9))
	least := s.leastShare()
	var over []*project
	for _, p := range s.projects {
		rate := p.alone(s.cfg.Concurrency)
		p.windowShare = p.served(s.cfg.Concurrency, fits).atLeast(least)
		switch {
		case p.gate.wide, p.credential.failing(), rate == 0 && p.inFlight > 0 && now.Sub(p.meter.since) > shareTime:
			// It fails, or its calls hang: who knows when its turn can come.
			p.windowShare = least
			deferred = append(deferred, s.deferExcess(now, p, 0)...)
		case rate > 0 && p.waiting.exceeds(p.windowShare):
			over = append(over, p)
		}
	}
	for _, p := range over {
		deferred = append(deferred, s.deferExcess(now, p, max(p.meter.rate, p.alone(s.cfg.Concurrency)/float64(len(over))))...)
	}
	return deferred
}

// deferExcess takes out what the project holds beyond its share, and would be served last, and has it
// return at the times at which it can be served at a rate. Rate 0 is not known: then all of it returns
// when the gate is probed.
func (s *schedule) deferExcess(now time.Time, p *project, rate float64) []*task {
	var tasks []*task
	left, crammed := p.waiting, s.waiting.fills(s.room()) >= 3./4
	for level := len(p.flows) - 1; level >= 0; level-- {
		if f := p.flows[level]; f != nil {
			for _, b := range f.queue.takeIf(func(b *batch) bool {
				if !left.exceeds(p.windowShare) || !b.deferrable(rate == 0 || crammed) {
					return false
				}
				left = left.minus(b.amount)
				return true
			}) {
				tasks = append(tasks, s.remove(b)...)
			}
		}
	}
	slices.Reverse(tasks) // they were taken from the end
	for _, t := range tasks {
		if rate == 0 {
			t.returnAt(later(p.shut().until, now.Add(deferAfter)))
		} else {
			t.returnAt(p.planReturn(now, rate))
		}
	}
	return tasks
}

// planReturn plans when a job returns that is deferred for its project's excess, after those that
// were planned before.
func (p *project) planReturn(now time.Time, rate float64) time.Time {
	step := time.Duration(float64(time.Second) / (rate * shareEarly))
	p.nextReturn = earlier(later(p.nextReturn, now.Add(shareSoonest)).Add(step), now.Add(shareLongest))
	return p.nextReturn
}

// deferrable reports whether all jobs of the batch may be deferred for their project's excess: nothing
// is known of them yet, and they were not deferred too often, unless that must not count.
func (b *batch) deferrable(often bool) bool {
	if len(b.parts) != 1 || b.seen().refusals > 0 || !b.seen().troubled.IsZero() {
		return false
	}
	return !slices.ContainsFunc(b.parts[0].recipients, func(r recipient) bool {
		return !often && r.task.lease.Deferrals >= shareDeferrals || r.task.touched()
	})
}
