package queue

import (
	"context"
	"fmt"
	"time"
)

// renew renews the leases of s three times in each ack wait. A lease counts as renewed only when a
// the consumer has answered the last renewal: then it has read those before. (That the server answers says
// nothing: the consumer may be gone.)
func (j *Jobs) renew(s *source) {
	for {
		j.mu.Lock()
		wait := s.ackWait
		j.mu.Unlock()
		select {
		case <-j.stopped.Done():
			return
		case <-time.After(wait / 3):
		}
		begun := j.q.Now()
		var due []*Lease
		j.mu.Lock()
		for _, l := range s.held {
			age := begun.Sub(l.since)
			if age >= wait/6 && (age < j.cfg.MaxHold || l.kept.Load()) && !l.Lapsed(begun) && l.standing.Load() == leased {
				due = append(due, l)
			}
		}
		j.mu.Unlock()
		if len(due) == 0 || !j.isSure(s) {
			continue // a lease that nobody knows of is not renewed against another consumer
		}
		progress := []byte("+WPI")
		for _, l := range due[1:] {
			_ = j.q.nc.Publish(l.address(), progress) // if it fails, so does the request
		}
		ctx, cancel := context.WithTimeout(j.stopped, wait/3)
		_, err := j.q.nc.RequestWithContext(ctx, due[0].address(), progress)
		cancel()
		if j.stopped.Err() != nil {
			return
		}
		if err != nil {
			j.cfg.OnError(fmt.Errorf("renew %d leases of %s: %w", len(due), s.stream, err))
			continue
		}
		for _, l := range due {
			l.LapseAt(begun.Add(wait))
		}
	}
}
