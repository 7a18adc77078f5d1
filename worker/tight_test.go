package worker

import (
	"fmt"
	"testing"
	"time"
)

// The queue bounds what all workers hold together, so that many workers, or one under a small max_ack_pending, never
// get their windows full. A flood of one project leaves to others what they do get.
func TestFloodLeavesASmallPartOfTheWindowToOthers(t *testing.T) {
	for _, held := range []int{5000, 1000} {
		t.Run(fmt.Sprint(held), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.tells, w.window = true, amount{held, 1 << 40}
				w.latency = 200 * time.Millisecond
				for i := range 20_000 {
					w.publish(text("flood", fmt.Sprint("text", i), "a"))
				}
				r := w.start(Config{Concurrency: 16})
				time.Sleep(5 * time.Second)
				for i := range 5 {
					other := fmt.Sprint("other", i)
					w.publish(text(other, "hello", "a"))
					time.Sleep(time.Second)
					if w.timesTold(other, "hello", "a") == 0 {
						t.Fatalf("job %d of others was not delivered within a second", i)
					}
				}
				w.finish(r, time.Hour)
			})
		})
	}
}

// What is served fast is not deferred because more is queued than comes.
func TestBacklogThatComesSlowlyIsNotDeferred(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.tells, w.window, w.fetch = true, amount{1000, 1 << 40}, 300
		w.latency = time.Millisecond
		for i := range 20_000 {
			w.publish(text(fmt.Sprint("p", i%4), fmt.Sprint("text", i), "a"))
		}
		r := w.start(Config{})
		w.finish(r, time.Hour)
		if n := len(w.defers); n > 0 {
			t.Errorf("%d jobs were deferred", n)
		}
	})
}
