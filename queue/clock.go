package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// clockEvery is how often the clocks are compared while jobs are taken in.
	clockEvery = 10 * time.Second
	// clockPatience bounds one comparison. An answer that took longer would say little.
	clockPatience = 2 * time.Second
	// clockSamples is of how many comparisons the one with the shortest round trip counts.
	clockSamples = 6
	// clocksApart is how far two clocks must be apart to count as two. Below it a worker goes by its own: the
	// server fires a schedule within a quarter of a second too.
	clocksApart = 250 * time.Millisecond
)

// clock is the clock of NATS as far as this process knows it. The zero value is this machine's own.
type clock struct {
	wall func() time.Time // this machine's clock; nil: time.Now

	mu      sync.Mutex
	samples []clockSample // the last ones, oldest first
	offset  time.Duration // by which NATS's clock is ahead
}

// clockSample is one comparison of the clocks: the server's answer was written at some time in the round trip, so
// that the offset is uncertain by half of that.
type clockSample struct{ offset, roundTrip time.Duration }

// machine is the time by this machine's clock.
func (c *clock) machine() time.Time {
	if c.wall != nil {
		return c.wall()
	}
	return time.Now()
}

// compared takes one comparison into account and returns the offset that counts from now on, and the one that
// counted before.
func (c *clock) compared(s clockSample) (now, before time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	best := s
	for _, o := range c.samples {
		if (s.offset - o.offset).Abs() > (s.roundTrip+o.roundTrip)/2+clocksApart/5 {
			c.samples, best = nil, s // one of the clocks was set meanwhile
			break
		}
		if o.roundTrip < best.roundTrip {
			best = o
		}
	}
	c.samples = append(c.samples, s)
	if more := len(c.samples) - clockSamples; more > 0 {
		c.samples = c.samples[more:]
	}
	before = c.offset
	switch {
	case best.offset.Abs() < clocksApart/2, best.offset.Abs() < clocksApart && before == 0:
		c.offset = 0
	case (best.offset - before).Abs() > clocksApart/5: // smaller steps are how exact a comparison is
		c.offset = best.offset
	}
	return c.offset, before
}

// ahead is by how much the clock of NATS is ahead.
func (c *clock) ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// Now is the time by the clock of NATS as far as it is known. All workers go by it, however their own clocks
// are set, so that what one of them defers comes due for the others at the same moment. Until [Queue.Jobs] has
// compared the clocks, and while they are less than a quarter of a second apart, it is this machine's time.
func (q *Queue) Now() time.Time { return q.clock.machine().Add(q.clock.ahead()) }

// ClockOffset is by how much the clock of NATS is ahead of this machine's; negative: behind. Zero: the two
// agree, or were not compared yet.
func (q *Queue) ClockOffset() time.Duration { return q.clock.ahead() }

// ClockError reports that this machine's clock and that of NATS are apart by another amount than before. Jobs
// are due by the latter, whatever the difference.
type ClockError struct {
	// Ahead is by how much the clock of NATS is ahead of this machine's. Zero: the two agree again.
	Ahead time.Duration
}

// Error implements error.
func (e ClockError) Error() string {
	apart := e.Ahead.Abs().Round(100 * time.Millisecond)
	switch {
	case e.Ahead > 0:
		return fmt.Sprintf("this machine's clock is %v behind that of NATS, by which jobs are due", apart)
	case e.Ahead < 0:
		return fmt.Sprintf("this machine's clock is %v ahead of that of NATS, by which jobs are due", apart)
	}
	return "this machine's clock and that of NATS agree again"
}

// compareClocks compares the clocks once. The error is a [ClockError] if they turned out to be apart by another
// amount than before.
func (q *Queue) compareClocks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clockPatience)
	defer cancel()
	sent := q.clock.machine()
	stream, err := q.js.Stream(ctx, LaterStream)
	if err != nil {
		return fmt.Errorf("compare clocks: %w", lookupError("stream "+LaterStream, err))
	}
	return q.learnTime(sent, stream.CachedInfo())
}

// learnTime compares the clocks by the server's answer to a question that was sent then.
func (q *Queue) learnTime(sent time.Time, info *jetstream.StreamInfo) error {
	if info.TimeStamp.IsZero() {
		return nil // of a server that does not say what time it is
	}
	roundTrip := q.clock.machine().Sub(sent)
	now, before := q.clock.compared(clockSample{info.TimeStamp.Sub(sent.Add(roundTrip / 2)), roundTrip})
	if (now - before).Abs() < clocksApart {
		return nil
	}
	return ClockError{now}
}

// keepClock compares the clocks until Close.
func (j *Jobs) keepClock() {
	ticker := time.NewTicker(clockEvery)
	defer ticker.Stop()
	for {
		select {
		case <-j.stopped.Done():
			return
		case <-ticker.C:
		}
		err := j.q.compareClocks(j.stopped)
		if err != nil && j.stopped.Err() == nil && j.q.nc.IsConnected() { // if not, that is reported elsewhere
			j.cfg.OnError(err)
		}
	}
}
