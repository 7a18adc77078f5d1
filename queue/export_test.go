package queue

import (
	"testing"
	"time"
)

// SetMachineClock has q run on a machine whose clock is wall. Call it before anything else is done with q.
func SetMachineClock(q *Queue, wall func() time.Time) { q.clock.wall = wall }

// LastSequence is that of the message stored last in a stream.
func LastSequence(t *testing.T, q *Queue, stream string) uint64 {
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}
