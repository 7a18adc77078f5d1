package queue

import (
	"testing"
	"time"
)

// With a full window no pull is under way by which the server would say that the stream was removed. The jobs of the
// next one are not acked in place of those that are held all the same.
func TestAcksBehindAFullWindowEndNothingOfANewStream(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	const n = 20
	publishMany(t, q, 0, n)
	jobs := openJobs(t, q, JobsConfig{Window: n})
	held := take(t, jobs, n)
	anew(t, q)
	publishMany(t, q, n, 2*n)
	others := openJobs(t, q, JobsConfig{})
	take(t, others, n)
	time.Sleep(lookBefore) // nobody removes a stream, makes it anew and fills it in less
	if err := Ack(deadline(t), held); err != nil {
		t.Fatal(err)
	}
	if left := stored(t, q, JobStream(Normal)); left != n {
		t.Errorf("%d of %d new jobs are left after others were acked", left, n)
	}
}
