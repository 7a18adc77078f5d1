package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// Worker carries jobs from a Source to a Sender. Make one with [New], and run it once.
type Worker struct {
	cfg       Config
	source    Source
	sender    Sender
	graveyard Graveyard

	// Owned by Run.
	schedule *schedule
	limiter  limiter
	calls    int     // under way
	probes   int     // of them, of projects whose gate was closed
	reserve  int     // slots that are kept for projects with few calls under way
	clean    []*task // every recipient has an outcome, and none needs a letter
	marked   []*task // the same, with letters
	chores   [choreKinds]choreState
	ackAt    time.Time // when few in clean need not wait for others any more
	acking   time.Time // since when acks have been under way without one being confirmed; zero: they are not
	unacked  int       // calls whose jobs are not acked yet, in parts of callWeight
	cutOff   int       // jobs whose call was cut off, and may have been delivered
	stopping bool      // nothing new is begun
	deadline time.Time // when a stopping worker gives up what it could not record

	sealed   chan *batch // to carriers that have nothing to do
	results  chan outcome
	closures chan Closure // of gates, told by other workers
}

// outcome is what a goroutine that Run started hands back.
type outcome struct {
	began time.Time
	// Of a call: the batch, and what the call came to.
	batch  *batch
	result result
	// Of a chore: its kind, and what of it is still to be done.
	chore chore
	size  int // how many tasks it took on
	acked int // of Worker.unacked
	left  []*task
}

// New makes a worker.
func New(cfg Config, source Source, sender Sender, graveyard Graveyard) *Worker {
	cfg = cfg.withDefaults()
	w := &Worker{
		cfg: cfg, source: source, sender: sender, graveyard: graveyard,
		schedule: newSchedule(cfg),
		limiter:  newLimiter(cfg.Concurrency),
		reserve:  reserve(cfg.Concurrency),
		closures: make(chan Closure, 256),
		sealed:   make(chan *batch),
		results:  make(chan outcome, cfg.Concurrency+8),
	}
	for kind := range w.chores {
		w.chores[kind].size = choreSize[kind]
	}
	return w
}

// ErrUnsettled is matched when a worker stopped before everything that it knew was recorded. The
// jobs are not lost: they will be delivered again, and some recipients told again.
var ErrUnsettled = errors.New("stopped with unsettled jobs")

// Run works until ctx ends. It then starts nothing new, gives back what was not started, waits up
// to Config.Grace for the calls under way, and records their outcomes; nil means that nothing will
// be repeated.
func (w *Worker) Run(ctx context.Context) error {
	// Calls outlive ctx by the grace, and what they came to is recorded even after that.
	calls, endCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer endCalls()
	defer close(w.sealed)

	intake := make(chan []*queue.Lease)
	go w.takeIn(ctx, intake)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	armed := time.Now().Add(time.Hour) // for when
	stop := ctx.Done()
	for {
		now := time.Now()
		if ctx.Err() == nil {
			if w.chores[choreAck].busy > 0 {
				w.schedule.gather.resume(now)
			}
			w.schedule.relieve(now)
			w.begin(calls, now)
		}
		w.doChores(calls, now)
		if w.stopping && intake == nil && w.calls == 0 && w.choring() == 0 && (w.left() == 0 || now.After(w.deadline)) {
			return w.leave()
		}
		// To set a timer costs as much as a job, so one that rings too early is left alone.
		if wake := now.Add(w.untilNext(now)); wake.Before(armed) || !armed.After(now) {
			timer.Reset(wake.Sub(now))
			armed = wake
		}
		select {
		case leases, more := <-intake:
			if !more {
				intake = nil
			}
			w.take(leases)
		case o := <-w.results:
			now := time.Now()
			w.handBack(now, o)
			for range len(w.results) { // what came back meanwhile, in the same go
				w.handBack(now, <-w.results)
			}
		case c := <-w.closures:
			w.schedule.shut(time.Now(), c)
		case <-timer.C:
			armed = time.Time{}
		case <-stop:
			stop = nil
			w.stopping, w.deadline = true, time.Now().Add(w.cfg.Grace)
			defer time.AfterFunc(w.cfg.Grace, endCalls).Stop()
			w.giveBack(time.Now())
		}
	}
}

// takeIn hands leases to Run until ctx ends, and none is lost to a race with that end.
func (w *Worker) takeIn(ctx context.Context, intake chan<- []*queue.Lease) {
	defer close(intake)
	for {
		leases, err := w.source.Next(ctx)
		if len(leases) > 0 {
			intake <- leases
		}
		if err != nil {
			return
		}
	}
}

func (w *Worker) take(leases []*queue.Lease) {
	if w.stopping {
		w.release(leases)
		return
	}
	now := time.Now()
	for _, l := range leases {
		w.schedule.add(now, l)
	}
}

// begin starts the calls that may go now.
func (w *Worker) begin(ctx context.Context, now time.Time) {
	for w.slots() > 0 {
		b := w.schedule.next(now, w.slots() <= w.reserve)
		if b == nil {
			return
		}
		w.calls++
		if b.probe {
			w.probes++
		}
		select {
		case w.sealed <- b:
		default:
			go w.carryAll(ctx, b)
		}
	}
}

// What a worker that is cut off from NATS calls for is told again by others. So no call begins while
// the acks of unackedMost times as many as may be under way are not confirmed, or those of unackedMany
// times as many and none has been for unackedLongest: a server with much to do takes a while.
const (
	callWeight     = 1 << 20
	unackedMost    = 16
	unackedMany    = 2
	unackedLongest = 250 * time.Millisecond
)

// slots is how many more calls may begin. Probes of closed gates do not count toward what the
// limiter allows: they may take long, and say nothing about other projects.
func (w *Worker) slots() int {
	calls := w.unacked / callWeight / w.cfg.Concurrency
	if calls >= unackedMost || calls >= unackedMany && !w.acking.IsZero() && time.Since(w.acking) > unackedLongest {
		return 0
	}
	return min(w.cfg.Concurrency-w.calls, w.limiter.calls()-(w.calls-w.probes))
}

// handBack takes in what a goroutine is done with.
func (w *Worker) handBack(now time.Time, o outcome) {
	if o.batch == nil {
		w.choreDone(now, o)
		return
	}
	w.calls--
	if err := o.result.err; w.stopping && !now.Before(w.deadline) && err != nil && err.MayBeDelivered {
		w.cutOff += o.result.jobs
	}
	if o.batch.probe {
		w.probes--
	}
	for _, t := range o.result.finished {
		if len(t.failures) == 0 {
			t.weight = callWeight / len(o.result.finished)
			w.unacked += t.weight
		}
	}
	w.schedule.finished = append(w.schedule.finished, o.result.finished...)
	w.limiter.learn(now, o.began, o.batch.key.project, o.batch.probe, o.result.err)
	before := w.schedule.trouble(o.batch.key.project)
	wait, opened := w.schedule.done(now, o.began, o.batch, o.result)
	if wait > 0 || opened {
		e := Event{Kind: EventGate, ProjectID: o.batch.key.project, Wait: wait, Status: o.result.status, Allowed: w.limiter.calls()}
		if wait > 0 {
			e.Err, e.Again = o.result.err, o.result.err.Kind == before
		}
		w.cfg.Hook(e)
	}
	if w.stopping {
		w.giveBack(now)
	}
}

// giveBack empties the schedule while the worker stops. Of a job of which something is known only
// the rest comes back; the others are released.
func (w *Worker) giveBack(now time.Time) {
	var leases []*queue.Lease
	for _, t := range w.schedule.drain() {
		if t.touched() {
			t.back = now
			w.schedule.deferred = append(w.schedule.deferred, t)
			continue
		}
		leases = append(leases, t.lease)
	}
	w.schedule.large = slices.DeleteFunc(w.schedule.large, func(t *task) bool {
		if !t.ending {
			leases = append(leases, t.lease)
		}
		return !t.ending
	})
	w.release(leases)
}

func (w *Worker) release(leases []*queue.Lease) {
	for _, l := range leases {
		l.Release()
	}
	if len(leases) > 0 {
		w.cfg.Hook(Event{Kind: EventReleased, Jobs: len(leases)})
	}
}

// left counts the tasks that are known and not recorded.
func (w *Worker) left() int {
	return len(w.schedule.finished) + len(w.clean) + len(w.marked) + len(w.schedule.deferred) + len(w.schedule.large)
}

// leave tells what could not be recorded.
func (w *Worker) leave() error {
	if n := w.left() + w.cutOff; n > 0 {
		return fmt.Errorf("%w: %d; they will be delivered again", ErrUnsettled, n)
	}
	return nil
}

// untilNext is how long Run may sleep.
func (w *Worker) untilNext(now time.Time) time.Duration {
	wait := time.Hour
	if at := w.schedule.wakeAt(); !at.IsZero() && w.slots() > 0 && !w.stopping {
		wait = min(wait, at.Sub(now))
	}
	if at := w.schedule.reliefAt(); !at.IsZero() && !w.stopping {
		wait = min(wait, at.Sub(now))
	}
	if len(w.clean) > 0 && w.acksLinger(now) {
		wait = min(wait, w.ackAt.Sub(now))
	}
	for _, c := range w.chores {
		if c.again.After(now) {
			wait = min(wait, c.again.Sub(now))
		}
	}
	return max(time.Nanosecond, wait)
}
