package worker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// session is the world as one worker sees it: its source, sender, graveyard and the holder of its
// leases. Nothing that a dead session is asked to do has an effect.
type session struct {
	w       *world
	cfg     Config
	dead    bool      // guarded by w.mu
	stopped time.Time // when it was asked to stop; guarded by w.mu
	calls   int       // under way
	held    map[person]map[*queue.Lease]bool
}

var errDead = errors.New("this worker has crashed")

// Next implements Source.
func (s *session) Next(ctx context.Context) ([]*queue.Lease, error) {
	for {
		s.w.mu.Lock()
		var leases []*queue.Lease
		ready := s.w.ready
		s.w.ready = nil
		for i, st := range ready {
			if s.dead || s.w.fetch > 0 && len(leases) == s.w.fetch {
				s.w.ready = append(s.w.ready, ready[i:]...)
				break
			}
			s.w.behind = len(ready) - i - 1
			if held := s.w.holding[st.lease.Stream]; held.fills(s.w.window) >= 1 && s.w.window != (amount{}) {
				s.w.ready = append(s.w.ready, st)
			} else if s.w.standing[st] {
				leases = append(leases, s.hold(st))
			}
		}
		news := s.w.news
		s.w.mu.Unlock()
		if len(leases) > 0 {
			return leases, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// hold makes a lease on a job. The caller holds mu.
func (s *session) hold(st *stored) *queue.Lease {
	from := &st.lease
	l := queue.NewLease(&queue.Lease{
		Job: from.Job, Invalid: from.Invalid, Raw: from.Raw, Letter: from.Letter, Priority: from.Priority,
		Stream: from.Stream, Seq: from.Seq, History: from.History,
		Redelivered: st.leases > 0,
	}, s)
	if s.w.tells {
		l.Behind = uint64(s.w.behind)
	}
	l.Job.WovenIDs = slices.Clone(l.Job.WovenIDs)
	st.leases++
	takes := amount{1, l.Size()}
	s.w.holding[st.lease.Stream] = s.w.holding[st.lease.Stream].plus(takes)
	h := &holding{stored: st, amount: takes, persons: persons(l), session: s}
	s.w.leases[l] = h
	if st.lapsed && st.leases == 1 {
		s.w.lapse(l)
	}
	for _, p := range h.persons {
		if s.held[p] == nil {
			s.held[p] = map[*queue.Lease]bool{}
		}
		s.held[p][l] = true
	}
	return l
}

// lapse makes a lease one that the server may have handed to somebody else.
func (w *world) lapse(l *queue.Lease) {
	l.LapseAt(time.Now())
	for _, p := range w.leases[l].persons {
		w.excused[p] = true
		w.lapsed[p] = time.Now()
	}
}

func persons(l *queue.Lease) []person {
	all := make([]person, len(l.Job.WovenIDs))
	for i, id := range l.Job.WovenIDs {
		all[i] = person{l.Job.ProjectID, l.Job.Message, id}
	}
	return all
}

// forget takes a lease from what the session may call for. The caller holds mu.
func (s *session) forget(l *queue.Lease) {
	for _, p := range s.w.leases[l].persons {
		delete(s.held[p], l)
	}
}

// Send implements Sender, and checks each call against what the session holds.
func (s *session) Send(ctx context.Context, n chatapi.Notification) (chatapi.Report, error) {
	w := s.w
	c := call{at: time.Now(), project: n.ProjectID, message: n.Message, ids: n.WovenIDs, session: s, priorities: map[queue.Priority]bool{}}
	w.mu.Lock()
	s.calls++
	s.check(&c)
	c.n = len(w.calls)
	w.calls = append(w.calls, c)
	latency := w.latency
	if w.hangs != nil && w.hangs(n.ProjectID) {
		latency = 10 * time.Second
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		s.calls--
		c.end = time.Now()
		w.calls[c.n] = c
	}()

	late := time.NewTimer(ahead(latency))
	defer late.Stop()
	select {
	case <-late.C:
	case <-ctx.Done():
		c.err = &chatapi.Error{Kind: chatapi.Temporary, MayBeDelivered: true, Err: ctx.Err()}
		s.excuse(c)
		return chatapi.Report{}, c.err
	}
	c.report = chatapi.Report{Status: 200}
	if w.answer != nil {
		c.report, c.err = s.ask(ctx, c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	failed := map[string]bool{}
	for _, f := range c.report.Failures {
		for _, id := range f.WovenIDs {
			failed[id] = true
		}
	}
	for _, id := range c.ids {
		p := person{c.project, c.message, id}
		if c.err == nil && !failed[id] {
			w.told[p]++
		}
		if s.dead {
			w.excused[p] = true
		}
	}
	var api *chatapi.Error
	if errors.As(c.err, &api) && api.MayBeDelivered {
		for _, id := range c.ids {
			w.excused[person{c.project, c.message, id}] = true
		}
	}
	return c.report, c.err
}

// excuse notes that nobody can know whether these were told.
func (s *session) excuse(c call) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, id := range c.ids {
		s.w.excused[person{c.project, c.message, id}] = true
	}
}

// errHang is an answer that comes only when the call, or the burial, is cut off.
var errHang = errors.New("no answer")

// ask gets the scripted answer, one call at a time.
func (s *session) ask(ctx context.Context, c call) (chatapi.Report, error) {
	report, err := func() (chatapi.Report, error) {
		s.w.answers.Lock()
		defer s.w.answers.Unlock()
		return s.w.answer(c)
	}()
	if errors.Is(err, errHang) {
		<-ctx.Done()
		return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Temporary, MayBeDelivered: true, Err: ctx.Err()}
	}
	if err == nil && report.Status == 0 {
		report.Status = 200
	}
	return report, err
}

// check holds a call against the rules. The caller holds mu.
func (s *session) check(c *call) {
	w := s.w
	if s.calls > s.cfg.Concurrency {
		w.fault("%d calls at once, allowed are %d", s.calls, s.cfg.Concurrency)
	}
	if len(c.ids) == 0 || len(c.ids) > s.cfg.MaxRecipients {
		w.fault("a call with %d recipients, allowed are 1 to %d", len(c.ids), s.cfg.MaxRecipients)
	}
	seen := make(map[string]bool, len(c.ids))
	for _, id := range c.ids {
		if seen[id] {
			w.fault("rule 3: recipient %s stands twice in a call", id)
		}
		seen[id] = true
		live := false
		for l := range s.held[person{c.project, c.message, id}] {
			if !l.Lapsed(c.at) {
				live = true
				c.priorities[l.Priority] = true
			}
		}
		// A lease may lapse in the very instant between the grant of a call and its beginning.
		if !live && !s.dead && w.lapsed[person{c.project, c.message, id}] != c.at {
			w.fault("a call tells %s %q for %s, and no job that is held asks for that", id, c.message, c.project)
		}
	}
	if !s.dead && !s.stopped.IsZero() && c.at.After(s.stopped) {
		w.fault("a call to %s begins although the worker is stopping", c.project)
	}
}

// Bury implements Graveyard.
func (s *session) Bury(ctx context.Context, letters []queue.DeadLetter) (failed []int, err error) {
	w := s.w
	refused := map[int]bool{}
	if w.buryErr != nil {
		w.answers.Lock()
		var written int
		written, err = w.buryErr(letters)
		w.answers.Unlock()
		for i := written; err != nil && i < len(letters); i++ {
			refused[i] = true
		}
	}
	w.answers.Lock()
	for i, l := range letters {
		if w.refuses != nil && w.refuses(l) {
			refused[i] = true
			err = cmp.Or(err, errDown)
		}
	}
	w.answers.Unlock()
	all := func(err error) ([]int, error) {
		for i := range letters {
			failed = append(failed, i)
		}
		return failed, err
	}
	if errors.Is(err, errHang) {
		<-ctx.Done()
		return all(ctx.Err())
	}
	select {
	case <-time.After(ahead(w.burial)):
	case <-ctx.Done():
		return all(ctx.Err())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.dead {
		return all(errDead)
	}
	var written []queue.DeadLetter
	for i, l := range letters {
		if refused[i] {
			failed = append(failed, i)
			continue
		}
		w.letters[grave{l.ProjectID, l.Reason, l.Origin}] = l
		written = append(written, l)
	}
	if len(written) > 0 {
		w.buries = append(w.buries, written)
	}
	return failed, err
}
