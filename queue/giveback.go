package queue

import (
	"fmt"
	"sync"
	"time"
)

// giveBack has jobs wait in their own streams.
func (j *Jobs) giveBack(deferrals []Deferral) error {
	for _, d := range deferrals {
		delay := min(d.At.Sub(j.q.Now()), mostDelay)
		if delay <= 0 {
			delay = lookRoom // it is due, and there is no room for it
		}
		if err := j.q.nc.Publish(d.Lease.address(), fmt.Appendf(nil, `-NAK {"delay": %d}`, delay)); err != nil {
			return fmt.Errorf("give back %s: %w", d.Lease.Origin(), err)
		}
		j.delayed.add(time.Now().Add(delay))
		j.forget(d.Lease) // if the word was lost, the job comes back when the lease lapses
	}
	return nil
}

// delays counts jobs that wait in their own streams because a worker gave them back.
type delays struct {
	mu   sync.Mutex
	till []delayed
}

type delayed struct {
	till time.Time
	jobs int
}

func (d *delays) add(till time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	till = till.Truncate(time.Second).Add(time.Second)
	for i := range d.till {
		if d.till[i].till.Equal(till) {
			d.till[i].jobs++
			return
		}
	}
	d.till = append(d.till, delayed{till, 1})
}

func (d *delays) count(now time.Time) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rest := d.till[:0]
	for _, e := range d.till {
		if now.Before(e.till) {
			rest = append(rest, e)
			n += e.jobs
		}
	}
	d.till = rest
	return n
}

// Delayed is how many jobs this worker gave back for a while, because no more may wait in NOTIFY_LATER.
func (j *Jobs) Delayed() int { return j.delayed.count(time.Now()) }
