package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// Worker carries jobs from a Source to a Sender. Make one with [New], and run it once.
type Worker struct {
	cfg       Config
	source    Source
	sender    Sender
	graveyard Graveyard

	core     *core       // owned by Run
	granted  chan *batch // to callers that have nothing to do
	results  chan outcome
	closures chan Closure  // of gates, reported by other workers
	changed  chan struct{} // credentials
}

// outcome is what a goroutine that Run started hands back: a call or work.
type outcome struct {
	batch  *batch // of a call
	began  time.Time
	result result
	work   *work // of a handler
	left   []*task
}

// New makes a worker.
func New(cfg Config, source Source, sender Sender, graveyard Graveyard) *Worker {
	cfg = cfg.withDefaults()
	return &Worker{
		cfg: cfg, source: source, sender: sender, graveyard: graveyard, core: newCore(cfg),
		granted:  make(chan *batch),
		closures: make(chan Closure, 256),
		changed:  make(chan struct{}, 1),
		results:  make(chan outcome, cfg.Concurrency+8),
	}
}

// ErrUnsettled is matched when a worker stopped before everything that it knew was recorded. The
// jobs are not lost: they come back, and some recipients will be delivered to again.
var ErrUnsettled = errors.New("stopped with unsettled jobs")

// Run works until ctx ends. It then starts nothing new, gives back what was not started, waits up
// to Config.Grace for the calls in flight, and records their outcomes; nil means that nothing will
// be repeated.
func (w *Worker) Run(ctx context.Context) error {
	// Calls outlive ctx by the grace, and what they came to is recorded even after that.
	calls, endCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer endCalls()
	defer close(w.granted)

	intake := make(chan []*queue.Lease)
	go w.takeIn(ctx, intake)
	timer := newAlarm(w.cfg.Now())
	defer timer.Stop()
	stop := ctx.Done()
	for {
		now := w.cfg.Now()
		if ctx.Err() == nil {
			w.startCalls(calls, now)
		}
		w.startWork(calls, now)
		if intake == nil && w.core.over(now) {
			return w.leave()
		}
		timer.ringAt(now, w.core.wakeAt(now))
		select {
		case leases, more := <-intake:
			if !more {
				intake = nil
			}
			w.release(w.core.add(w.cfg.Now(), leases))
		case o := <-w.results:
			now := w.cfg.Now()
			w.onResult(now, o)
			for range len(w.results) { // what came back meanwhile, in the same go
				w.onResult(now, <-w.results)
			}
		case c := <-w.closures:
			for _, e := range w.core.closeGate(w.cfg.Now(), c) {
				w.cfg.Hook(e)
			}
		case <-w.changed:
			w.core.schedule.credentialsChanged(w.cfg.Now())
		case <-timer.C:
			timer.rang()
		case <-stop:
			stop = nil
			now := w.cfg.Now()
			w.core.stop(now)
			defer time.AfterFunc(w.cfg.Grace, endCalls).Stop()
			w.release(w.core.unstarted(now))
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

func (w *Worker) startCalls(ctx context.Context, now time.Time) {
	for b := w.core.nextCall(now); b != nil; b = w.core.nextCall(now) {
		select {
		case w.granted <- b:
		default:
			go w.runCalls(ctx, b)
		}
	}
}

func (w *Worker) startWork(ctx context.Context, now time.Time) {
	for work := w.core.nextWork(now); work != nil; work = w.core.nextWork(now) {
		go func() { w.results <- outcome{work: work, left: w.handle(ctx, work)} }()
	}
}

// onResult takes in what a goroutine is done with.
func (w *Worker) onResult(now time.Time, o outcome) {
	if o.work != nil {
		w.core.workEnded(now, o.work, o.left)
		return
	}
	for _, e := range w.core.callEnded(now, o.began, o.batch, o.result) {
		w.cfg.Hook(e)
	}
	if w.core.stopping {
		w.release(w.core.unstarted(now))
	}
}

func (w *Worker) release(leases []*queue.Lease) {
	for _, l := range leases {
		l.Release()
	}
	if len(leases) > 0 {
		w.cfg.Hook(Event{Kind: EventReleased, Jobs: len(leases)})
	}
}

// leave says how much could not be recorded.
func (w *Worker) leave() error {
	if n := w.core.unrecorded(); n > 0 {
		return fmt.Errorf("%w: %d; they will be delivered again", ErrUnsettled, n)
	}
	return nil
}

// alarm is a timer that is set seldom: to set one costs as much as a job, so one that rings too early
// is left alone.
type alarm struct {
	*time.Timer
	at time.Time // zero: it rang
}

func newAlarm(now time.Time) *alarm { return &alarm{time.NewTimer(time.Hour), now.Add(time.Hour)} }

// ringAt makes it ring at the time or before; zero: within an hour.
func (a *alarm) ringAt(now, at time.Time) {
	if at.IsZero() {
		at = now.Add(time.Hour)
	}
	if at = later(at, now.Add(time.Nanosecond)); at.Before(a.at) || !a.at.After(now) {
		a.Reset(at.Sub(now))
		a.at = at
	}
}

func (a *alarm) rang() { a.at = time.Time{} }
