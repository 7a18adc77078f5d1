package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// How jobs are pulled. The defaults of nats.go hoard, and can fall silent for 30 s after a server
// crash (jetstream.md, findings 7 and 8).
const (
	pullMessages  = 2000
	pullBytes     = 8 << 20
	pullExpiry    = 5 * time.Second
	pullHeartbeat = time.Second
	// drainPatience is how long Close waits for what is on its way to it.
	drainPatience = 2 * time.Second
)

// take pulls jobs of one stream while there is room for them. It pauses for a moment by blocking the
// pull, and for longer by draining it: a job that waits in a blocked client is not renewed, and comes
// twice; but to drain takes the client a tenth of a second, in which nothing comes.
func (j *Jobs) take(ctx context.Context, s *source) {
	for ctx.Err() == nil {
		j.room(ctx, s)
		s.pauses = pauses{}
		pull, err := s.consumer.Consume(
			func(msg jetstream.Msg) {
				j.arrive(s, msg)
				j.hold(ctx, s)
			},
			// A message above the limit would never come, so it stands far above the largest.
			jetstream.PullMaxMessagesWithBytesLimit(min(pullMessages, j.cfg.Window), max(pullBytes, 2*int(j.q.nc.MaxPayload()))),
			jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat),
			jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
				if !errors.Is(err, jetstream.ErrNoHeartbeat) { // the pull renews itself; a lost connection is told elsewhere
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
			if !drained { // by itself: the consumer was deleted, or the connection closed
				pause(ctx, time.Second)
			}
		case <-ctx.Done():
			pull.Drain()
			select {
			case <-pull.Closed():
			case <-time.After(drainPatience): // while the server is away a drain does not end; what it would bring comes again
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

// arrive makes a lease of a message.
func (j *Jobs) arrive(s *source, msg jetstream.Msg) {
	lease, err := newLease(s.stream, msg)
	if err != nil { // not a JetStream delivery at all; nothing that could be settled
		j.cfg.OnError(fmt.Errorf("take in a job from %s: %w", s.stream, err))
		return
	}
	lease.holder = j
	lease.since = time.Now().Add(-s.pauses.age())
	lease.size = len(msg.Data()) + headersSize(msg.Headers())
	lease.LapseAt(lease.since.Add(s.ackWait))

	lease.from = s
	j.mu.Lock()
	if earlier := s.held[lease.Seq]; earlier != nil {
		// The server took it for lost and has come back to its very holder: nothing is to be done
		// twice, and the lease is as good as new.
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
