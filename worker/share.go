package worker

import (
	"slices"
	"time"
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
	// what came due, which holds up no new jobs. So plans are early. The first one is made while
	// the flood comes in, when rates say little: it gets jobs out of the way, for shareSoonest to
	// shareSoon. The second is by the rate since, taken for shareEarly times what it is.
	shareEarly   = 2
	shareSoonest = time.Second // before what is kept runs out
	shareSoon    = 10 * time.Second
	// shareLongest bounds a plan: the rate of five minutes ahead is anybody's guess.
	shareLongest = 5 * time.Minute
	// shareDeferrals is how often a job is deferred for its project's excess; after that it stays.
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

// count takes down a call.
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

// hold keeps count of the jobs that wait for a call.
func (s *schedule) hold(now time.Time, p *project, jobs int) {
	if p.waiting == 0 && p.underway == 0 {
		p.meter.start(now)
	}
	p.waiting += jobs
	s.held += jobs
}

// filling tells whether so much of the window waits for calls that shares matter.
func (s *schedule) filling() bool { return s.held >= s.cfg.Window/4 }

// reliefAt is when relieve is to be called next; zero: not until something changes.
func (s *schedule) reliefAt() time.Time {
	if !s.filling() {
		return time.Time{}
	}
	return s.relieved.Add(shareCheck)
}

// relieve defers what projects hold beyond their share while the window is filling.
func (s *schedule) relieve(now time.Time) {
	if !s.filling() || now.Sub(s.relieved) < shareCheck {
		return
	}
	s.relieved = now
	var wanted float64
	for _, p := range s.projects {
		wanted += min(float64(p.waiting), p.alone(s.cfg.Concurrency)*shareTime.Seconds())
	}
	fits := min(1, float64(s.cfg.Window)/2/max(1, wanted))
	var over []*project
	for _, p := range s.projects {
		rate := p.alone(s.cfg.Concurrency)
		p.share = max(4*s.cfg.Concurrency, int(rate*fits*shareTime.Seconds()))
		switch {
		case p.gate.err != nil, rate == 0 && p.underway > 0 && now.Sub(p.meter.since) > shareTime:
			// It fails, or its calls hang: who knows when its turn can come.
			p.share = 4 * s.cfg.Concurrency
			if p.waiting > p.share {
				s.shed(now, p, 0)
			}
		case rate > 0 && p.waiting > p.share:
			over = append(over, p)
		}
	}
	for _, p := range over {
		s.shed(now, p, max(p.meter.rate, p.alone(s.cfg.Concurrency)/float64(len(over))))
	}
}

// shed defers what the project holds beyond its share, and would be served last, to the times at
// which it can be served at a rate; rate 0 is not known, and then until its gate is probed.
func (s *schedule) shed(now time.Time, p *project, rate float64) {
	excess := p.waiting - p.share
	var tasks []*task
	for lvl := len(p.flows) - 1; lvl >= 0 && len(tasks) < excess; lvl-- {
		f := p.flows[lvl]
		if f == nil {
			continue
		}
		f.line.keep(func(b *batch) bool {
			if len(tasks) >= excess || !b.sheds(rate == 0) {
				return true
			}
			s.hold(now, p, -b.jobs)
			s.seal(b)
			tasks = append(tasks, b.tasks()...)
			return false
		})
	}
	slices.Reverse(tasks) // they were taken from the end
	if rate == 0 {
		for _, t := range tasks {
			t.back = later(p.gate.until, now.Add(deferAfter))
		}
		s.deferred = append(s.deferred, tasks...)
		return
	}
	for _, t := range tasks {
		t.back = p.turn(now, t.lease.Deferrals, rate)
		if e := t.lease.Job.ExpiresAt; !e.IsZero() && e.Before(t.back) {
			t.back = e
		}
		s.deferred = append(s.deferred, t)
	}
}

// turn plans when a job comes back that was deferred so many times before, after those planned
// already.
func (p *project) turn(now time.Time, deferrals int, rate float64) time.Time {
	step := time.Duration(float64(time.Second) / (rate * shareEarly))
	if deferrals == 0 {
		p.soon = earlier(later(p.soon, now.Add(shareSoonest)).Add(step), now.Add(shareSoon))
		return p.soon
	}
	p.horizon = earlier(later(p.horizon, now.Add(shareTime)).Add(step), now.Add(shareLongest))
	return p.horizon
}

// sheds tells whether all jobs of the batch may be deferred for their project's excess: nothing is
// known of them yet, and they were not deferred too often, unless that must not count.
func (b *batch) sheds(often bool) bool {
	if len(b.parts) != 1 || b.refusals > 0 {
		return false
	}
	for _, r := range b.parts[0].recipients {
		if !often && r.task.lease.Deferrals >= shareDeferrals || r.task.touched() {
			return false
		}
	}
	return true
}
