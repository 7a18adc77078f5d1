package daemon

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

func (d *daemon) setNotReady(why error) { d.notReady.Store(&why) }

// watchConnection ends the run when the server has closed the connection for good: whoever supervises the
// process starts it again, with a connection that knows what the server allows now.
func (d *daemon) watchConnection(ctx context.Context, q *queue.Queue, end context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
	case <-q.Closed():
		if err := q.Err(); err != nil {
			d.setNotReady(err)
			d.log.Error().Err(err).Msg("nats: the worker ends; what was in flight will be repeated")
			end(err)
		}
	}
}

// healthy is nil unless the process can do nothing any more but end.
func (d *daemon) healthy() error {
	if q := d.queue.Load(); q != nil {
		return q.Err()
	}
	return nil
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
	return all
}

// state is what the worker says of itself to those who ask.
func (d *daemon) state() queue.WorkerState {
	state := d.gates.state()
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
