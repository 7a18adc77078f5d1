package queue

import (
	"context"
	"fmt"
	"time"
)

// renew renews the leases of s three times in each ack wait. A lease counts as renewed only when a
// round trip to the server afterwards has succeeded: then the server has read the renewal.
func (j *Jobs) renew(s *source) {
	ticker := time.NewTicker(s.ackWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-j.stopped.Done():
			return
		case <-ticker.C:
		}
		begun := time.Now()
		var due []*Lease
		j.mu.Lock()
		for _, l := range s.held {
			age := begun.Sub(l.since)
			if age >= s.ackWait/6 && (age < j.cfg.MaxHold || l.kept.Load()) && !l.Lapsed(begun) {
				due = append(due, l)
			}
		}
		j.mu.Unlock()
		if len(due) == 0 {
			continue
		}
		for _, l := range due {
			_ = j.q.nc.Publish(l.address(), []byte("+WPI")) // if it fails, so does the flush
		}
		ctx, cancel := context.WithTimeout(j.stopped, s.ackWait/3)
		err := j.q.nc.FlushWithContext(ctx)
		cancel()
		if j.stopped.Err() != nil {
			return
		}
		if err != nil {
			j.cfg.OnError(fmt.Errorf("renew %d leases of %s: %w", len(due), s.stream, err))
			continue
		}
		for _, l := range due {
			l.LapseAt(begun.Add(s.ackWait))
		}
	}
}
