package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// errReplaced is returned when the connection was lost and restored while acks were on their way.
var errReplaced = errors.New("the connection was replaced meanwhile")

// ackPatience bounds one attempt to have an ack confirmed. An answer that was lost with a connection
// never comes, and a worker with too many unconfirmed acks begins no calls: with 10 s here, workers
// stood still for 12 s after nats-server was killed and started again at once.
const ackPatience = 3 * time.Second

// Ack implements [Holder]. Each stream's acks are confirmed by themselves, so that one which does not answer
// keeps no others from being done; what was confirmed is not acked again when Ack is repeated.
func (j *Jobs) Ack(ctx context.Context, leases []*Lease) error {
	var errs []error
	for _, s := range j.sources {
		var own []*Lease
		for _, l := range leases {
			if l.from == s && !l.forgotten.Load() {
				own = append(own, l)
			}
		}
		if len(own) == 0 {
			continue
		}
		err := j.ackAll(ctx, s, own)
		if err != nil {
			errs = append(errs, err)
		}
		j.confirmed(s, err)
	}
	return errors.Join(errs...)
}

// ackAll acks the leases of one source. Acks of one consumer on one connection are processed in order, so all
// but the last are only sent, and the last one is confirmed. This holds only if the connection was the same
// throughout, and the consumer is known to be the one that delivered the jobs.
func (j *Jobs) ackAll(ctx context.Context, s *source, leases []*Lease) error {
	ctx, cancel := context.WithTimeout(ctx, ackPatience)
	defer cancel()
	if err := j.beSure(ctx, s); err != nil {
		return fmt.Errorf("ack %d jobs of %s: %w", len(leases), s.stream, err)
	}
	before := j.q.nc.Stats().Reconnects
	ack := []byte("+ACK")
	var last *Lease
	var acked []*Lease
	for _, l := range leases {
		if l.standing.Load() != leased {
			if err := j.q.remove(ctx, s.stream, l.place()); err != nil {
				return fmt.Errorf("ack %s: %w", l.Origin(), err)
			}
			j.mu.Lock()
			s.removed[l.place()] = time.Now()
			j.mu.Unlock()
			j.forget(l)
			continue
		}
		acked = append(acked, l)
		if last != nil {
			if err := j.q.nc.Publish(last.address(), ack); err != nil {
				return fmt.Errorf("ack %s: %w", last.Origin(), err)
			}
		}
		last = l
	}
	if last == nil {
		return nil
	}
	if !j.isSure(s) {
		return fmt.Errorf("ack %d jobs of %s: %w", len(acked), s.stream, errReplaced)
	}
	begun := time.Now()
	if _, err := j.q.nc.RequestWithContext(ctx, last.address(), ack); err != nil {
		if denied, _ := j.q.denied.since(last.address(), begun); denied {
			err = fmt.Errorf("%w: %s", ErrDenied, last.address())
		}
		s.sure.Store(0) // a consumer that does not know of the job does not answer
		return fmt.Errorf("ack %s: %w", last.Origin(), err)
	}
	if j.q.nc.Stats().Reconnects != before || !j.isSure(s) {
		return fmt.Errorf("ack %d jobs: %w", len(acked), errReplaced)
	}
	j.forget(acked...)
	return nil
}

// beSure makes sure that stream and consumer are those that delivered the jobs, where that is not known:
// another stream's jobs have the same numbers, and would be acked with these.
func (j *Jobs) beSure(ctx context.Context, s *source) error {
	j.mu.Lock()
	blind := len(s.window.pulls) == 0 && time.Since(s.looked) > lookBefore // as in a backlog, with a full window
	j.mu.Unlock()
	if j.isSure(s) && !blind {
		return nil
	}
	if err := j.look(ctx, s); err != nil && !errors.Is(err, ErrMissing) {
		return err
	}
	return nil
}

// remove deletes a job that is done, and whose consumer does not know that, if it is in the stream.
func (q *Queue) remove(ctx context.Context, name string, at place) error {
	stream, err := q.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return lookupError("stream "+name, err)
	}
	msg, err := stream.GetMsg(ctx, at.seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && msg.Time.UnixNano() != at.stored {
		return nil
	}
	if err == nil {
		err = stream.DeleteMsg(ctx, at.seq)
	}
	if isGone(err) {
		return nil
	}
	return err
}

// Release implements [Holder]. A lapsed lease is only forgotten: the server may have given the job to
// another worker, and a release now could take it away from there. A job whose stream is gone is published
// anew.
func (j *Jobs) Release(l *Lease) {
	switch {
	case l.standing.Load() == orphaned:
		j.publishAgain(l)
	case l.standing.Load() == leased && !l.Lapsed(j.q.Now()) && j.isSure(l.from):
		_ = j.q.nc.Publish(l.address(), []byte("-NAK")) // if it is lost, the job comes back when the lease lapses
	}
	j.forget(l)
}

// publishAgain gives back a job that is in no stream any more.
func (j *Jobs) publishAgain(l *Lease) {
	if l.forgotten.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), ackPatience)
	defer cancel()
	if err := j.publishDeferrals(ctx, []Deferral{{Lease: l, At: j.q.Now(), History: l.History}})[0]; err != nil {
		j.cfg.OnError(fmt.Errorf("give back %s, whose stream is gone: %w; it is lost", l.Origin(), err))
	}
}

// forget removes ended leases from those that are held.
func (j *Jobs) forget(leases ...*Lease) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range leases {
		s := l.from
		if l.forgotten.Swap(true) {
			continue // removed before: the call that ended it was repeated
		}
		delete(s.held, l.place())
		s.window.remove(l.size)
		signal(s.wake)
	}
}
