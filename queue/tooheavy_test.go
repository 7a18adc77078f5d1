package queue

import (
	"fmt"
	"testing"
	"time"
)

// A job for which the window has no room goes back, and is not asked for again before there is: otherwise it would
// come and go as fast as the server can.
func TestJobThatDoesNotFitIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	heavy := job("", "m")
	for i := range 30_000 {
		heavy.WovenIDs = append(heavy.WovenIDs, fmt.Sprintf("w-%06d", i))
	}
	for i := range 9 {
		heavy.ID = fmt.Sprint("j", i)
		publish(t, q, Normal, heavy)
	}
	jobs := openJobs(t, q, JobsConfig{WindowBytes: 4 * 16 << 20}) // seven of them
	held := take(t, jobs, 7)
	time.Sleep(time.Second) // in which they came more than 500 times; what was asked for before may come: two pulls of 8 MiB
	stream, err := q.js.Stream(t.Context(), JobStream(Normal))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.Consumer(t.Context(), ConsumerName)
	if err != nil {
		t.Fatal(err)
	}
	if n := consumer.CachedInfo().Delivered.Consumer; n > 60 {
		t.Errorf("nine jobs, of which seven fit, were delivered %d times", n)
	}
	for range 2 {
		if err := Ack(deadline(t), held[:1]); err != nil {
			t.Fatal(err)
		}
		held = append(held[1:], take(t, jobs, 1)...)
	}
}
