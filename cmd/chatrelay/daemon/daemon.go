// Package daemon is a worker process: it connects a [worker.Worker] with NATS, the Chat API, logs,
// metrics, health checks and the other workers.
//
//	queue.Jobs ──▶ worker ──▶ credentials.Clients
//	                 └ events ─▶ log, metrics, closed gates ─▶ status, and the gates of other workers
package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/chatrelay/chatrelay/chatapi/credentials"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/worker"
)

// Config is what a worker process works with. NATS and Worker have usable zero values, Reload,
// LogLost and Explain may be nil; the others are required.
type Config struct {
	// NATS is where jobs come from. Patience and OnConnection are set by [Run].
	NATS queue.Config
	// API makes the calls.
	API *credentials.Clients
	// Jobs bounds what is held. OnError is set by [Run].
	Jobs queue.JobsConfig
	// Worker bounds and paces the calls. Its Hook is called after what [Run] itself does with an
	// event.
	Worker worker.Config
	// Reload asks, by each value, for the credentials to be read again. Nil: only when the files
	// change.
	Reload <-chan os.Signal
	// HTTP is where /healthz, /readyz and /metrics are served. Run closes it.
	HTTP net.Listener
	// Log is where everything is logged; see [NewLogger].
	Log zerolog.Logger
	// LogLost is how many lines of the log could not be written; see [LogWriter]. Nil: not known.
	LogLost func() int64
	// Explain is the text for the log of an error about the connection to NATS, for those who can
	// say what to do about it. Nil: the error's own.
	Explain func(error) string
	// Version is what the status of this worker shows.
	Version string
}

// natsPatience is how long a starting worker waits for NATS; its supervisor starts it again.
const natsPatience = time.Minute

// daemon is one run.
type daemon struct {
	cfg     Config
	log     zerolog.Logger
	metrics *metrics
	gates   *gateBoard
	letters *letterBoard
	faults  *faultBoard
	// What other processes cause may be much: these log few lines a minute, one the gates that closed by
	// others' words, the other what is no such word.
	foreign, refusals zerolog.Logger
	announcements     *rate.Limiter // see announce

	notReady atomic.Pointer[error] // why /readyz says no; what it points to is nil while all is well
	queue    atomic.Pointer[queue.Queue]
	jobs     atomic.Pointer[queue.Jobs]
}

// Run works until ctx ends, and then stops in order. It returns nil when nothing that was known is
// unrecorded: nothing will be repeated because of this worker.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Explain == nil {
		cfg.Explain = error.Error
	}
	d := &daemon{cfg: cfg, log: cfg.Log, gates: newGateBoard(), faults: &faultBoard{log: cfg.Log}, letters: newLetterBoard(), foreign: fewLines(cfg.Log), refusals: fewLines(cfg.Log), announcements: newAnnouncements()}
	d.metrics = newMetrics(d.held, func() float64 { return float64(len(d.gates.list())) }, d.connected)
	d.watchQueue()
	d.metrics.showUnwritten(func() float64 { return d.letters.count(time.Now()) })
	if cfg.LogLost != nil {
		d.metrics.countLost(cfg.LogLost)
	}
	catchLibraries(cfg.Log)
	d.setNotReady(errors.New("starting"))
	stopHTTP := serve(cfg.HTTP, operations(d.metrics.registry, d.ready, d.conditions))
	defer stopHTTP()

	q, err := d.connect(ctx)
	if err != nil && ctx.Err() != nil {
		return nil // stopped before it had anything in hand
	}
	if err != nil {
		return err
	}
	defer q.Close()
	d.queue.Store(q)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	taking := d.cfg.Jobs
	taking.OnError = func(err error) { d.log.Warn().Err(err).Msg("queue") }
	jobs, err := q.Jobs(ctx, taking)
	if err != nil {
		return err
	}
	defer jobs.Close()
	d.jobs.Store(jobs)
	retire, err := q.Announce(identity(cfg.Version), d.state)
	if err != nil {
		return err
	}
	defer retire()
	go cfg.API.Check(ctx, d.credentials)
	go d.faults.watch(ctx, q.Faults)
	go tuneGarbage(ctx)
	return d.work(ctx, q, jobs)
}

// work runs the worker itself.
func (d *daemon) work(ctx context.Context, q *queue.Queue, jobs *queue.Jobs) error {
	cfg := d.cfg.Worker
	cfg.Now = q.Now
	cfg.Window, cfg.WindowBytes = d.cfg.Jobs.Window, d.cfg.Jobs.WindowBytes
	cfg.Credential = d.cfg.API.Credential
	cfg.Hook = func(e worker.Event) { d.event(q, e) }
	d.setNotReady(nil)
	d.log.Info().Str("api", d.cfg.API.Endpoint()).Str("http", d.cfg.HTTP.Addr().String()).Int("concurrency", cfg.Concurrency).Msg("worker started")
	context.AfterFunc(ctx, func() {
		if q.Err() != nil {
			return // said already
		}
		d.setNotReady(errors.New("stopping"))
		d.log.Info().Dur("grace_ms", cfg.Grace).Msg("stopping: waiting for calls in flight")
	})
	w := worker.New(cfg, jobs, d.cfg.API, q)
	go d.cfg.API.Watch(ctx, d.cfg.Reload, func(e credentials.Event) {
		d.credentials(e)
		if _, ok := e.(credentials.Reloaded); ok {
			w.CredentialsChanged()
		}
	})
	unsubscribe, err := q.SubscribeGates(func(g queue.GateStatus) { d.gateHeard(w, g) }, d.gateRefused)
	if err != nil {
		return err
	}
	defer unsubscribe()
	if err := d.untilClosed(q, func() error { return w.Run(ctx) }); err != nil {
		return err
	}
	d.log.Info().Msg("worker stopped: everything known was recorded")
	return nil
}

func (d *daemon) connect(ctx context.Context) (*queue.Queue, error) {
	cfg := d.cfg.NATS
	cfg.Patience = natsPatience
	cfg.OnConnection = func(err error) {
		if err != nil {
			d.log.Warn().Str(zerolog.ErrorFieldName, d.cfg.Explain(err)).Msg("nats")
		} else {
			d.log.Info().Msg("nats: connection restored")
		}
	}
	return queue.Connect(ctx, cfg)
}

// event passes on what the worker reports.
func (d *daemon) event(q *queue.Queue, e worker.Event) {
	d.metrics.event(e)
	d.gates.event(e)
	logLetters(d.log, d.letters.event(time.Now(), e), e)
	if e.From != "" {
		logEvent(d.foreign, e)
	} else {
		logEvent(d.log, e)
		d.announce(q, e)
	}
	if d.cfg.Worker.Hook != nil {
		d.cfg.Worker.Hook(e)
	}
}

func (d *daemon) credentials(e credentials.Event) {
	logCredentials(d.log, d.cfg.API.File(), d.cfg.API.SecretFile(), e)
}
