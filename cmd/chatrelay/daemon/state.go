package daemon

import (
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

func (d *daemon) setNotReady(why error) { d.notReady.Store(&why) }

// untilClosed works until work returns, or until the server has closed the connection for good. Then it
// does not wait for work: nothing that comes of calls in flight can be recorded any more. Whoever supervises
// the process starts it again, with a connection that knows what the server allows now.
func (d *daemon) untilClosed(q *queue.Queue, work func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- work() }()
	select {
	case err := <-ended:
		return err
	case <-q.Closed():
		d.setNotReady(q.Err())
		d.log.Error().Err(q.Err()).Msg("nats: the worker ends; calls in flight will be repeated")
		return q.Err()
	}
}

// ready is nil while the worker works and is connected.
func (d *daemon) ready() error {
	if err := *d.notReady.Load(); err != nil {
		return err
	}
	if !d.connected() {
		return errors.New("not connected to NATS")
	}
	if jobs := d.jobs.Load(); jobs != nil {
		return jobs.Ready()
	}
	return nil
}

func (d *daemon) connected() bool {
	q := d.queue.Load()
	return q != nil && q.Connected()
}

// conditions are what keeps the worker from its work at this moment, although it is ready.
func (d *daemon) conditions() (all []queue.Condition) {
	if jobs := d.jobs.Load(); jobs != nil {
		all = jobs.Conditions()
	}
	if c := d.letters.condition(time.Now()); c != nil {
		all = append(all, *c)
	}
	return append(all, d.faults.conditions()...)
}

// state is what the worker says of itself to those who ask.
func (d *daemon) state() queue.WorkerState {
	state := d.gates.state()
	if jobs := d.jobs.Load(); jobs != nil {
		state.Overdue, state.Delayed = jobs.Overdue(), jobs.Delayed()
		state.ClockAhead = d.queue.Load().ClockOffset().Seconds()
	}
	state.Conditions = d.conditions()
	return state
}

// held is the number of jobs leased by this worker.
func (d *daemon) held() float64 {
	if jobs := d.jobs.Load(); jobs != nil {
		return float64(jobs.Held())
	}
	return 0
}

// identity is what status shows of this worker.
func identity(version string) map[string]string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return map[string]string{
		"host": host, "pid": strconv.Itoa(os.Getpid()),
		"started": time.Now().UTC().Format(time.RFC3339), "version": version,
	}
}

// watchQueue has the metrics show what the queue knows of NATS.
func (d *daemon) watchQueue() {
	ofJobs := func(value func(*queue.Jobs) float64) func() float64 {
		return func() float64 {
			if jobs := d.jobs.Load(); jobs != nil {
				return value(jobs)
			}
			return 0
		}
	}
	d.metrics.gauge("clock_offset_seconds", "By how much the clock of NATS is ahead of this machine's.", func() float64 {
		if q := d.queue.Load(); q != nil {
			return q.ClockOffset().Seconds()
		}
		return 0
	})
	d.metrics.gauge("jobs_overdue", "Jobs that NATS did not deliver at their time, at the last walk through NOTIFY_LATER.", ofJobs(func(j *queue.Jobs) float64 { return float64(j.Overdue()) }))
	d.metrics.gauge("jobs_delayed", "Jobs that this worker gave back for a while because too much waits in NOTIFY_LATER.", ofJobs(func(j *queue.Jobs) float64 { return float64(j.Delayed()) }))
	d.metrics.gauge("conditions", "What keeps this worker from its work at the moment; status says what.", func() float64 { return float64(len(d.conditions())) })
}
