package queue

import (
	"context"
	"time"
)

// pauses is how long a source's callback was blocked lately, by which the jobs that wait behind it
// in the client are older than they seem. Only the callback touches it.
type pauses struct {
	messages         int // since the last pull's worth of them ended
	blocked, earlier time.Duration
}

// pauseMost is for how long, in all, the jobs of one pull are kept waiting in the client: far below
// the server's patience, and below the two heartbeats after which the client would pull once more.
const pauseMost = time.Second

// age is how old a job that arrives now may be.
func (p *pauses) age() time.Duration {
	if p.messages++; p.messages >= pullMessages {
		*p = pauses{earlier: p.blocked}
	}
	return p.earlier + p.blocked
}

// hold keeps the pull of s waiting while s is full. If that takes long, the pull is drained.
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

// forget takes ended leases out of what is held.
func (j *Jobs) forget(leases ...*Lease) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range leases {
		s := l.from
		if s.held[l.Seq] != l {
			continue // ended before, by a call that was repeated
		}
		delete(s.held, l.Seq)
		s.bytes -= l.size
		// A little of both must be free: to wake the pull for a single job would be a waste.
		if s.full && len(s.held) <= j.cfg.Window*15/16 && s.bytes <= j.cfg.WindowBytes*15/16 {
			s.full = false
			signal(s.freed)
		}
	}
}
