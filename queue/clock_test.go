package queue

import (
	"testing"
	"time"
)

func TestClockGoesByTheBestComparison(t *testing.T) {
	var c clock
	for i, step := range []struct{ offset, roundTrip, want time.Duration }{
		{200 * time.Millisecond, time.Millisecond, 0}, // as good as equal
		{240 * time.Millisecond, time.Millisecond, 0},
		{260 * time.Millisecond, time.Millisecond, 260 * time.Millisecond}, // hysteresis from here on
		{240 * time.Millisecond, time.Millisecond, 260 * time.Millisecond},
		{100 * time.Millisecond, time.Millisecond, 0},        // set right
		{800 * time.Millisecond, 1500 * time.Millisecond, 0}, // the answer was late: it may still be right
		{2 * time.Minute, time.Millisecond, 2 * time.Minute}, // set wrong
		{2*time.Minute + 20*time.Millisecond, time.Millisecond, 2 * time.Minute},
		{-5 * time.Minute, 100 * time.Millisecond, -5 * time.Minute},
		{0, time.Millisecond, 0},
	} {
		if got, _ := c.compared(clockSample{step.offset, step.roundTrip}); got != step.want {
			t.Errorf("step %d: the offset is %v, want %v", i, got, step.want)
		}
	}
}
