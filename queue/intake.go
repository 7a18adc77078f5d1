package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// drainPatience is how long Close waits for jobs that are on their way.
const drainPatience = 2 * time.Second

// take takes in the jobs of one stream until ctx ends, in one session after another.
func (j *Jobs) take(ctx context.Context, s *source) {
	status := j.q.nc.StatusChanged(nats.CONNECTED)
	defer j.q.nc.RemoveStatusListener(status)
	for ctx.Err() == nil {
		err := j.look(ctx, s)
		if err == nil {
			err = j.pull(ctx, s, status)
		}
		if err == nil || ctx.Err() != nil {
			continue // another session, at once
		}
		if j.q.nc.IsConnected() { // if not, that is reported elsewhere
			j.troubled(s, err)
		}
		select {
		case <-ctx.Done():
		case <-status:
		case <-time.After(retryIntake):
		}
	}
}

// retryIntake is how long the intake rests after it failed.
const retryIntake = time.Second

// session is a subscription to one inbox, and the pulls whose jobs come there.
type session struct {
	source *source
	of     generation
	inbox  string // of all pulls: each appends its name
	heard  time.Time
	last   uint64 // delivery of the consumer: they are numbered from one on
	end    chan error
}

// pull asks for jobs as there is room for them, until the server says that something has changed (then it
// returns nil, and the source is to be looked at), an error, or the end of ctx.
func (j *Jobs) pull(ctx context.Context, s *source, status <-chan nats.Status) error {
	n := &session{source: s, of: s.of, inbox: j.q.nc.NewInbox() + ".", heard: time.Now(), end: make(chan error, 1)}
	sub, err := j.q.nc.Subscribe(n.inbox+"*", func(msg *nats.Msg) { j.receive(n, msg) })
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	_ = sub.SetPendingLimits(-1, -1) // the window bounds what comes
	closed := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(closed) })
	j.mu.Lock()
	s.session = n
	s.window.forgetPulls()
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		s.session = nil
		j.mu.Unlock()
		if sub.Drain() != nil || ctx.Err() == nil {
			return // jobs that are on their way still come, but nobody waits for them
		}
		select {
		case <-closed:
		case <-time.After(drainPatience): // without a server a drain does not end; these jobs will be delivered again
		}
	}()
	looked := time.Now()
	ticker := time.NewTicker(pullHeartbeat)
	defer ticker.Stop()
	for {
		if err := j.askFor(n); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-n.end:
			return err
		case <-s.wake:
		case <-status: // another connection, and perhaps another server
			return nil
		case now := <-ticker.C:
			silent, idle := j.silence(n, now)
			if silent {
				return j.whySilent(s)
			}
			every := lookEveryPulling
			if idle {
				every = lookEvery
			}
			if now.Sub(looked) < every {
				continue
			}
			looked = now
			if err := j.look(ctx, s); err != nil {
				if errors.Is(err, ErrMissing) {
					return err
				}
				continue // the pull says by itself if it fails
			}
			j.mu.Lock()
			anew := s.of != n.of
			j.mu.Unlock()
			if anew {
				return nil
			}
		}
	}
}

// errSilent is why the intake fails when the server neither serves a pull nor says that it has it.
var errSilent = errors.New("the server does not answer pulls; its consumer may have more pulls waiting than max_waiting allows")

// whySilent says why no pull is answered, as far as is known.
func (j *Jobs) whySilent(s *source) error {
	subject := j.pullSubject(s)
	if denied, _ := j.q.denied.since(subject, time.Now().Add(-denialHolds)); denied {
		return fmt.Errorf("%w: %s", ErrDenied, subject)
	}
	return errSilent
}

func (j *Jobs) pullSubject(s *source) string {
	return j.q.apiSubject("CONSUMER.MSG.NEXT." + s.stream + "." + ConsumerName)
}

// askFor sends the pulls for which there is room.
func (j *Jobs) askFor(n *session) error {
	for {
		j.mu.Lock()
		s := n.source
		limits := s.limits
		r := s.window.ask(time.Now(), limits)
		if r.jobs > 0 && len(s.window.pulls) == 1 {
			n.heard = time.Now() // nothing was owed before
		}
		j.mu.Unlock()
		if r.jobs == 0 {
			return nil
		}
		if err := j.q.nc.PublishRequest(j.pullSubject(s), n.inbox+r.name, r.payload(limits)); err != nil {
			return fmt.Errorf("pull: %w", err)
		}
	}
}

// silence reports whether a pull is under way of which the server says nothing, and whether none is.
func (j *Jobs) silence(n *session, now time.Time) (silent, idle bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	idle = len(n.source.window.pulls) == 0
	return !idle && now.Sub(n.heard) > pullSilence && j.q.nc.IsConnected(), idle
}

// receive takes what comes to a session: jobs, and the server's words about pulls.
func (j *Jobs) receive(n *session, msg *nats.Msg) {
	if isJob(msg) {
		j.arrive(n, msg)
		return
	}
	w, pull := serverWord(msg), msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:]
	j.mu.Lock()
	defer j.mu.Unlock()
	s := n.source
	if s.session != n {
		return
	}
	n.heard = time.Now()
	switch w.kind() {
	case alive:
		j.well(s)
		return
	case pullOver:
		j.well(s)
		s.window.over(pull, w.left)
	case tooLarge:
		if s.window.broughtNothing(pull, w.left) && !s.limits.raise() {
			n.finish(fmt.Errorf("the next job is larger than any pull may bring (%d bytes were asked for)", min(s.limits.largest, s.limits.bytes)))
		}
		s.window.over(pull, w.left)
	case tooMuch:
		s.window.over(pull, -1)
		if !s.limits.lower(w) {
			n.finish(fmt.Errorf("the server refuses pulls: %d %s", w.status, w.text))
		}
	case moved:
		s.sure.Store(0) // another leader may not have come as far
		n.finish(nil)
	case hopeless:
		n.finish(fmt.Errorf("the server refuses pulls: %d %s", w.status, w.text))
	}
	signal(s.wake)
}

// finish ends the session; the first reason counts.
func (n *session) finish(err error) {
	select {
	case n.end <- err:
	default:
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
