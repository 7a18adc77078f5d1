package worker

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// A worker that is cut off from NATS soon stops to call: what it calls for then is told again.
func TestCallsStopWhileNoAckIsConfirmed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const concurrency, jobs = 16, 10_000
		var away atomic.Bool
		away.Store(true)
		w.latency = 20 * time.Millisecond
		w.acking = func() time.Duration {
			if away.Load() {
				return 3 * time.Second
			}
			return time.Millisecond
		}
		w.ackErr = func() error {
			if away.Load() {
				return errors.New("no answer")
			}
			return nil
		}
		r := w.start(Config{Concurrency: concurrency})
		for i := range jobs {
			w.publish(text(fmt.Sprint("p", i%10), fmt.Sprint("text", i), fmt.Sprint("a", i)))
		}
		time.Sleep(20 * time.Second)
		w.mu.Lock()
		calls := len(w.calls)
		w.mu.Unlock()
		if most := (unconfirmedMost + 1) * concurrency; calls > most || calls < concurrency {
			t.Errorf("%d calls without a confirmed ack, want up to %d", calls, most)
		}
		away.Store(false)
		w.finish(r, time.Hour)
	})
}
