package queue

import (
	"context"
	"time"
)

// pauses records how long a source's callback was blocked lately: the jobs that wait behind it in the
// client are older by that than they seem. Only the callback uses it.
type pauses struct {
	messages         int // since blocked was last reset
	blocked, earlier time.Duration
}

// pauseMost bounds how long, in all, the jobs of one pull wait in the client. It is far below the ack
// wait, and below the two heartbeats after which the client would pull once more.
const pauseMost = time.Second

// arrived counts a job, and returns how long it may have waited in the client.
func (p *pauses) arrived() time.Duration {
	if p.messages++; p.messages >= pullMessages {
		*p = pauses{earlier: p.blocked}
	}
	return p.earlier + p.blocked
}

// hold blocks the pull of s while s is full. If that takes long, it drains the pull.
func (j *Jobs) hold(ctx context.Context, s *source) {
	for {
		j.mu.Lock()
		waits := s.full && !s.drained && s.pull != nil
		j.mu.Unlock()
		if !waits {
			return
		}
		began := time.Now()
		late := time.NewTimer(max(0, pauseMost-s.pauses.blocked))
		select {
		case <-s.freed:
		case <-ctx.Done():
			late.Stop()
			return
		case <-late.C:
			j.mu.Lock()
			s.drained = true
			s.pull.Drain()
			j.mu.Unlock()
		}
		late.Stop()
		s.pauses.blocked += time.Since(began)
	}
}

// room blocks until s is not full, or ctx ends.
func (j *Jobs) room(ctx context.Context, s *source) {
	for {
		j.mu.Lock()
		full := s.full
		j.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
			return
		}
	}
}

// forget removes ended leases from those that are held.
func (j *Jobs) forget(leases ...*Lease) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range leases {
		s := l.from
		if s.held[l.Seq] != l {
			continue // removed before: the call that ended it was repeated
		}
		delete(s.held, l.Seq)
		s.bytes -= l.size
		// Waking the pull for a single job would be a waste, so a sixteenth of both must be free.
		if s.full && len(s.held) <= j.cfg.Window*15/16 && s.bytes <= j.cfg.WindowBytes*15/16 {
			s.full = false
			signal(s.freed)
		}
	}
}
