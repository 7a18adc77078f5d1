package daemon

import (
	"context"
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// spareHeap is how much garbage, in bytes, a worker lets pile up before it is collected, but not more
// than four times of what is in use, nor less than three fifths. A worker keeps little and makes much: with
// Go's default, to collect whenever there is as much garbage as there is in use, a fifth of its time went
// into collecting.
const spareHeap = 48 << 20

// tuneGarbage keeps the collector from running too often while the heap is small, until ctx ends.
// Where the environment says how, nothing is changed.
func tuneGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	set := 0
	live := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		runtimemetrics.Read(live)
		inUse := max(1, live[0].Value.Uint64())
		// To set it stops the program for a moment, so small changes are let pass.
		if percent := min(400, max(60, int(spareHeap*100/inUse))); percent < set*9/10 || percent > set*11/10 {
			set = percent
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
