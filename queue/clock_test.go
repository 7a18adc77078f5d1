package queue

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestClockGoesByTheBestComparison(t *testing.T) {
	var c clock
	for i, step := range []struct{ offset, roundTrip, want time.Duration }{
		{200 * time.Millisecond, time.Millisecond, 0}, // as good as equal
		{240 * time.Millisecond, time.Millisecond, 0},
		{260 * time.Millisecond, time.Millisecond, 260 * time.Millisecond}, // hysteresis from here on
		{240 * time.Millisecond, time.Millisecond, 260 * time.Millisecond},
		{100 * time.Millisecond, time.Millisecond, 0},                                    // set right
		{800 * time.Millisecond, 1500 * time.Millisecond, 0},                             // the answer was late: it may still be right
		{2 * time.Minute, time.Millisecond, 2 * time.Minute},                             // set wrong
		{2*time.Minute + 700*time.Millisecond, 1500 * time.Millisecond, 2 * time.Minute}, // late once more
		{2*time.Minute + 20*time.Millisecond, time.Millisecond, 2 * time.Minute},
		{-5 * time.Minute, 100 * time.Millisecond, -5 * time.Minute},
		{0, time.Millisecond, 0},
	} {
		if got, _ := c.compared(clockSample{step.offset, step.roundTrip}); got != step.want {
			t.Errorf("step %d: the offset is %v, want %v", i, got, step.want)
		}
	}
}

// The answer was written in the middle of the round trip, as far as anybody can know.
func TestAnswersAreWrittenHalfway(t *testing.T) {
	sent := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	q := &Queue{}
	q.clock.wall = func() time.Time { return sent.Add(2 * time.Second) }
	if err := q.learnTime(sent, &jetstream.StreamInfo{TimeStamp: sent.Add(time.Second)}); err != nil || q.ClockOffset() != 0 {
		t.Errorf("%v; the offset is %v", err, q.ClockOffset())
	}
}
