package daemon

import (
	"errors"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/worker"
)

// fewLines logs ten lines a minute at most, and leaves the others out: metrics count them.
func fewLines(log zerolog.Logger) zerolog.Logger {
	return log.Sample(&zerolog.BurstSampler{Burst: 10, Period: time.Minute})
}

// newAnnouncements bounds how many closed gates are announced: twenty a second, which is more than other
// workers can use. Of those of thousands of projects that close at once most are left out.
func newAnnouncements() *rate.Limiter { return rate.NewLimiter(20, 100) }

// announce tells the other workers of a gate that closed here for a reason that concerns them. If that is
// lost, they find out by themselves.
func (d *daemon) announce(q *queue.Queue, e worker.Event) {
	if e.Kind == worker.EventGate && !e.Narrow && chatapi.KindOf(e.Err).ConcernsAllWorkers() && d.announcements.Allow() {
		_ = q.PublishGate(gateStatus(e, time.Now()))
	}
}

// errOtherKind is why the announcement of a gate is refused that closed for a failure that each worker
// finds out by itself.
var errOtherKind = errors.New("a gate was announced that does not concern all workers")

// gateHeard takes in that a gate of another worker closed.
func (d *daemon) gateHeard(w *worker.Worker, g queue.GateStatus) {
	if !chatapi.Kind(g.Kind).ConcernsAllWorkers() {
		d.gateRefused(errOtherKind)
		return
	}
	d.metrics.heard.WithLabelValues("heard").Inc()
	w.CloseGate(closure(g, time.Now()))
}

// gateRefused takes down that something came that announces no gate.
func (d *daemon) gateRefused(err error) {
	d.metrics.heard.WithLabelValues("refused").Inc()
	d.foreign.Warn().Err(err).Msg("refused: only workers should be allowed to publish gates")
}

// closure is what another worker's gate means for this one.
func closure(g queue.GateStatus, now time.Time) worker.Closure {
	return worker.Closure{ProjectID: g.ProjectID, Wait: g.Until.Sub(now), Kind: chatapi.Kind(g.Kind), Status: g.Status, From: g.From}
}
