package worker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// outcomes checks rule 1 at the moment when a lease ends for some of its recipients: each was told
// on account of this job, or stands in its letter. The caller holds mu.
func (s *session) outcomes(l *queue.Lease, ids []string) {
	w, st := s.w, s.w.leases[l].stored
	if l.Letter != nil {
		kept, ok := w.letters[grave{l.Letter.ProjectID, l.Letter.Reason, l.Letter.Origin}]
		if !ok || !slices.Equal(kept.WovenIDs, l.Letter.WovenIDs) {
			w.fault("rule 1: a letter of %s that came back is acked and not stored", l.Letter.Origin)
		}
		if l.Letter.Reason == queue.Invalid {
			st.root.outcome["*"] = "invalid"
		}
		for _, id := range l.Letter.WovenIDs {
			st.root.outcome[id] = string(l.Letter.Reason)
		}
		return
	}
	if l.Invalid != nil {
		if _, ok := w.letters[grave{queue.UnknownProject, queue.Invalid, l.Origin()}]; !ok {
			w.fault("rule 1: invalid %s is acked and not in a letter", l.Origin())
		}
		st.root.outcome["*"] = "invalid"
		return
	}
	in := map[string]queue.Reason{}
	for _, reason := range queue.Reasons() {
		for _, id := range w.letters[grave{l.Job.ProjectID, reason, l.Origin()}].WovenIDs {
			in[id] = reason
		}
	}
	for _, id := range ids {
		p := person{l.Job.ProjectID, l.Job.Message, id}
		switch {
		case in[id] != "":
			st.root.outcome[id] = string(in[id])
		case w.told[p] > w.used[p]:
			w.used[p]++
			st.root.outcome[id] = "told"
		case w.told[p] > 0 && w.excused[p]: // told by somebody else's call for the same job
			st.root.outcome[id] = "told"
		default:
			w.fault("rule 1: %s ends, and %s was neither told nor buried", l.Origin(), id)
		}
	}
}

// end checks rule 2 and returns the holding of a lease that is to be ended. Nil: nothing is to be
// done. The caller holds mu.
func (s *session) end(l *queue.Lease, how string) *holding {
	h := s.w.leases[l]
	switch {
	case h.ended == "lost":
		return nil
	case h.ended != "":
		s.w.fault("rule 2: the lease on %s ends by %s and ended by %s before", l.Origin(), how, h.ended)
		return nil
	}
	return h
}

func (s *session) over(l *queue.Lease, h *holding, how string) {
	h.session.w.end(h, how)
	s.forget(l)
}

// Ack implements queue.Holder.
func (s *session) Ack(_ context.Context, leases []*queue.Lease) error {
	w := s.w
	if w.acking != nil { // without mu: the others go on
		time.Sleep(w.acking())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.dead {
		return errDead
	}
	if w.ackErr != nil {
		if err := w.ackErr(); err != nil {
			return err
		}
	}
	for _, l := range leases {
		if w.ackOf != nil {
			if err := w.ackOf(l); err != nil {
				return err
			}
		}
	}
	var lost error
	if w.ackLost != nil {
		lost = w.ackLost()
	}
	for _, l := range leases {
		h := s.end(l, "ack")
		if h == nil {
			continue
		}
		if !h.durable {
			s.outcomes(l, l.Job.WovenIDs)
			h.durable = true
			w.acks = append(w.acks, ended{time.Now(), l})
		}
		delete(w.standing, h.stored)
		if lost == nil {
			s.over(l, h, "ack")
		}
	}
	return lost
}

// Defer implements queue.Holder.
func (s *session) Defer(ctx context.Context, deferrals []queue.Deferral) error {
	w := s.w
	if w.writing != nil && len(deferrals) > 0 { // without mu: the others go on
		select {
		case <-time.After(w.writing(len(deferrals))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.dead {
		return errDead
	}
	applied, err := true, error(nil)
	if w.deferErr != nil {
		applied, err = w.deferErr()
	}
	if err != nil && !applied {
		return err
	}
	for _, d := range deferrals {
		h := s.end(d.Lease, "defer")
		if h == nil {
			continue
		}
		if !h.durable {
			h.durable = true
			w.postpone(d, h)
		}
		if err == nil {
			s.over(d.Lease, h, "defer")
		}
	}
	return err
}

// postpone publishes the rest of a job anew for a time. The caller holds mu.
func (w *world) postpone(d queue.Deferral, h *holding) {
	l := d.Lease
	job := l.Job
	if d.WovenIDs != nil {
		job.WovenIDs = slices.Clone(d.WovenIDs)
		back := slices.Clone(d.WovenIDs)
		for _, letter := range d.Letters {
			back = append(back, letter.WovenIDs...)
		}
		if l.Letter == nil && l.Invalid == nil {
			h.session.outcomes(l, slices.DeleteFunc(slices.Clone(l.Job.WovenIDs), func(id string) bool { return slices.Contains(back, id) }))
		}
	}
	if len(job.WovenIDs)+len(d.Letters) == 0 {
		w.fault("%s is deferred for nobody", l.Origin())
	}
	w.defers = append(w.defers, deferral{time.Now(), d})
	var all []*stored
	if len(job.WovenIDs) > 0 {
		all = append(all, w.anew(h.stored, job, d.History))
	}
	for _, letter := range d.Letters {
		again := w.anew(h.stored, queue.Job{}, d.History)
		again.lease.Letter = &letter
		all = append(all, again)
	}
	delete(w.standing, h.stored)
	for _, again := range all {
		again.lease.Deferrals = l.Deferrals + 1
		time.AfterFunc(ahead(time.Until(d.At)), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.arrive(again)
		})
	}
}

// ahead makes a time lie in the future: under the race detector, the runtime of Go 1.26 now and then
// crashes on a timer of a bubble that is due at once (runtime.timer.modify runs it on the system
// stack, and the detector has no context there).
func ahead(d time.Duration) time.Duration { return max(time.Nanosecond, d) }

// anew is a job that came from another. The caller holds mu.
func (w *world) anew(from *stored, job queue.Job, history queue.History) *stored {
	w.seq++
	l := &from.lease
	again := &stored{root: from.root, lease: queue.Lease{
		Job: job, Priority: l.Priority, Stream: queue.LaterStream, Seq: w.seq, History: history,
	}}
	w.standing[again] = true
	return again
}

// Split implements queue.Holder.
func (s *session) Split(_ context.Context, l *queue.Lease, limit int) error {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.dead {
		return errDead
	}
	applied, err := true, error(nil)
	if w.splitErr != nil {
		applied, err = w.splitErr()
	}
	if err != nil && !applied {
		return err
	}
	h := w.leases[l]
	id := fmt.Sprint(l.Origin(), limit)
	if !w.parts[id] && h.ended == "" {
		w.parts[id] = true
		w.splits++
		job := l.Job
		job.WovenIDs = l.Job.WovenIDs[limit:]
		w.arrive(w.anew(h.stored, job, l.History))
	}
	if err == nil {
		for _, p := range h.persons[limit:] {
			delete(s.held[p], l)
		}
		h.persons = h.persons[:limit]
	}
	return err
}

// Release implements queue.Holder.
func (s *session) Release(l *queue.Lease) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	h := s.end(l, "release")
	if s.dead || h == nil {
		return
	}
	w.freed = append(w.freed, ended{time.Now(), l})
	s.over(l, h, "release")
	if !l.Lapsed(time.Now()) {
		w.arrive(h.stored)
		return
	}
	time.AfterFunc(redelivery, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.arrive(h.stored)
	})
}
