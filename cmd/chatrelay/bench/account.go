package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// idleTimeout is how long a stream may go without getting shorter.
const idleTimeout = time.Minute

// wait asks the broker, every pause at most, until done likes what it hears: of the job stream, and
// once that is empty, of what came due.
func (m *measurement) wait(ctx context.Context, pause time.Duration, done func(queue.Backlog) bool) error {
	begun := time.Now()
	shortest, since := ^uint64(0), begun
	for stream := queue.JobStream(queue.Normal); ; {
		b, err := m.q.Backlog(ctx, stream)
		if err != nil {
			return err
		}
		if b.Stored < shortest {
			shortest, since = b.Stored, time.Now()
		}
		switch {
		case !done(b):
		case stream == queue.LaterStream || b.Stored > 0:
			return nil
		default:
			stream, shortest = queue.LaterStream, ^uint64(0)
			continue
		}
		for _, c := range m.children {
			select {
			case <-c.ended:
				return c.stop()
			default:
			}
		}
		if time.Since(since) > idleTimeout {
			return fmt.Errorf("%d jobs are left in %s, and nothing happens%s", b.Stored, stream, m.children[0].said())
		}
		// Asking costs the broker something: at most one in a hundred parts of the time goes by between.
		select {
		case <-time.After(min(pause, max(time.Millisecond, time.Since(begun)/100))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// account demands one delivery to every recipient, and no other.
func (m *measurement) account(ctx context.Context, run *Run) error {
	var t tallied
	if err := ask(ctx, m.at.Records+"tally", &t); err != nil {
		return err
	}
	run.Calls, run.MaxFlight, run.APILatency = t.Calls, t.MaxFlight, t.Latency
	if lost := run.Recipients - t.Delivered; lost > 0 || t.Twice > 0 || t.Wrong > 0 {
		return fmt.Errorf("of %d recipients %d were not delivered to, %d more than once, and %d deliveries were not asked for", run.Recipients, lost, t.Twice, t.Wrong)
	}
	if !m.workload.Timed {
		return nil
	}
	var delivered []int64
	if err := ask(ctx, m.at.Records+"times", &delivered); err != nil {
		return err
	}
	ms := make([]float64, len(delivered))
	for i := range delivered {
		ms[i] = float64(delivered[i]-m.acked[i]) / 1e6
	}
	slices.Sort(ms)
	run.Way = &Latency{P50: quantile(ms, .5), P99: quantile(ms, .99), Max: ms[len(ms)-1]}
	return nil
}
