package worker

import (
	"fmt"
	"testing"
	"time"
)

// A flood that takes longer than is planned ahead comes back too early, time and again. What is deferred for it does
// not fill the window of what is due, which others need as well.
func TestLongFloodLeavesWhatIsDueToOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.tells, w.window = true, amount{2000, 1 << 40}
		w.latency = 200 * time.Millisecond
		const flood = 60_000 // of which 80 are served a second
		for i := range flood {
			w.publish(text("flood", fmt.Sprint("text", i), "a"))
		}
		r := w.start(Config{Concurrency: 16, Window: 2000})
		for i := range 10 {
			time.Sleep(time.Minute)
			j := text(fmt.Sprint("other", i), "hello", "a")
			j.DeliverAt = time.Now().Add(10 * time.Second)
			w.publish(j)
			time.Sleep(11 * time.Second)
			if w.timesTold(j.ProjectID, "hello", "a") == 0 {
				t.Errorf("job %d of others was not delivered within a second", i)
			}
		}
		w.finish(r, 2*time.Hour)
		if n := len(w.defers); n > 4*flood {
			t.Errorf("%d deferrals", n)
		}
	})
}
