package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// How jobs are pulled. With the defaults of nats.go a consumer was silent for 30 s in two of eight
// kills of the server, because it waits for two heartbeats of 15 s; with these, never above 7.5 s.
const (
	pullMessages  = 2000
	pullBytes     = 8 << 20
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
	// drainPatience is how long Close waits for jobs that are on their way.
	drainPatience = 2 * time.Second
)

// take pulls jobs of one stream while there is room for them. For a short pause it blocks the pull,
// for a longer one it drains it. Jobs that wait in a blocked client are not renewed, so after a while
// the server would deliver them again; draining takes the client a tenth of a second in which no job
// arrives.
func (j *Jobs) take(ctx context.Context, s *source) {
	for ctx.Err() == nil {
		j.room(ctx, s)
		s.pauses = pauses{}
		pull, err := s.consumer.Consume(
			func(msg jetstream.Msg) {
				j.arrive(s, msg)
				j.hold(ctx, s)
			},
			// A message above the byte limit would never be delivered and block all behind it, so the
			// limit is twice the largest message.
			jetstream.PullMaxMessagesWithBytesLimit(min(pullMessages, j.cfg.Window), max(pullBytes, 2*int(j.q.nc.MaxPayload()))),
			jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat),
			jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
				if !errors.Is(err, jetstream.ErrNoHeartbeat) { // the pull renews itself, and OnConnection reports a lost connection
					j.cfg.OnError(fmt.Errorf("take in jobs from %s: %w", s.stream, err))
				}
			}))
		if err != nil {
			j.cfg.OnError(fmt.Errorf("take in jobs from %s: %w", s.stream, err))
			pause(ctx, time.Second)
			continue
		}
		j.mu.Lock()
		s.pull, s.drained = pull, false
		j.mu.Unlock()
		select {
		case <-pull.Closed():
			j.mu.Lock()
			drained := s.drained
			j.mu.Unlock()
			if !drained { // the consumer was deleted, or the connection closed
				pause(ctx, time.Second)
			}
		case <-ctx.Done():
			pull.Drain()
			select {
			case <-pull.Closed():
			case <-time.After(drainPatience): // without a server a drain does not end; these jobs will be delivered again
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// arrive makes a lease of a message and keeps it for Next.
func (j *Jobs) arrive(s *source, msg jetstream.Msg) {
	lease, err := newLease(s.stream, msg)
	if err != nil { // not a delivery of JetStream, so there is nothing to settle
		j.cfg.OnError(fmt.Errorf("take in a job from %s: %w", s.stream, err))
		return
	}
	lease.holder = j
	lease.since = time.Now().Add(-s.pauses.arrived())
	lease.size = len(msg.Data()) + headersSize(msg.Headers())
	lease.LapseAt(lease.since.Add(s.ackWait))

	lease.from = s
	j.mu.Lock()
	if earlier := s.held[lease.Seq]; earlier != nil {
		// The lease lapsed and the server delivered the job again, to the worker that still holds it.
		// The job is not handed out twice; the lease it has is renewed.
		reply := msg.Reply()
		earlier.renewed.Store(&reply)
		earlier.LapseAt(lease.since.Add(s.ackWait))
		j.mu.Unlock()
		return
	}
	s.held[lease.Seq] = lease
	s.bytes += lease.size
	s.full = s.full || len(s.held) >= j.cfg.Window || s.bytes >= j.cfg.WindowBytes
	j.arrived = append(j.arrived, lease)
	j.mu.Unlock()
	signal(j.ready)
}
