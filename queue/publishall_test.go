package queue

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/queue/broker"
)

func manyJobs(n int, at func(i int)) iter.Seq2[Priority, Job] {
	return func(yield func(Priority, Job) bool) {
		for i := range n {
			if at != nil {
				at(i)
			}
			if !yield(Normal, job(fmt.Sprint("j", i), "m", "w")) {
				return
			}
		}
	}
}

func TestPublishAll(t *testing.T) {
	q := newQueue(t)
	const n, bad = 20_000, 7_777
	jobs := func(yield func(Priority, Job) bool) {
		i := 0
		for p, j := range manyJobs(n, nil) {
			if i == bad {
				j.Message = ""
			}
			if i++; !yield(p, j) {
				return
			}
		}
	}
	for round := range 2 {
		next, duplicates := 0, 0
		err := q.Publisher(PublisherConfig{}).PublishAll(t.Context(), jobs, func(r Receipt, err error) {
			if r.JobID != fmt.Sprint("j", next) {
				t.Fatalf("done with %s, want j%d", r.JobID, next)
			}
			if (err != nil) != (next == bad) || (err != nil && !errors.Is(err, ErrInvalid)) {
				t.Errorf("job %d: %v", next, err)
			}
			if r.Duplicate {
				duplicates++
			}
			next++
		})
		if err != nil || next != n || duplicates != round*(n-1) {
			t.Errorf("round %d: %d done, %d duplicates, %v", round, next, duplicates, err)
		}
		if got := stored(t, q, "NOTIFY_NORMAL"); got != n-1 {
			t.Errorf("round %d: %d stored", round, got)
		}
	}
}

// After one job that could not be published within RetryFor, nobody waits as long again.
func TestPublishAllIntoAFullStreamEndsSoon(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, "NOTIFY_NORMAL", func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 })
	const n = 500
	stored, full, retries := 0, 0, 0
	pub := q.Publisher(PublisherConfig{RetryFor: 5 * time.Second, OnRetry: func(error) { retries++ }})
	err := pub.PublishAll(deadline(t), manyJobs(n, nil), func(_ Receipt, err error) {
		switch {
		case err == nil:
			stored++
		case errors.Is(err, ErrFull):
			full++
		default:
			t.Error(err)
		}
	})
	if err != nil || stored != 10 || full != n-10 || retries > 20 {
		t.Errorf("%d stored, %d refused, %d retries, %v", stored, full, retries, err)
	}
}

// When room is made, thousands of refused jobs must not each wait for a pause of their own.
func TestPublishAllGoesOnWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, "NOTIFY_NORMAL", func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 })
	const n = 3000
	retries := 0
	pub := q.Publisher(PublisherConfig{OnRetry: func(error) {
		if retries++; retries == 3 {
			limit(t, q, "NOTIFY_NORMAL", func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 })
		}
	}})
	err := pub.PublishAll(deadline(t), manyJobs(n, nil), func(r Receipt, err error) {
		if err != nil || r.Duplicate {
			t.Errorf("%+v, %v", r, err)
		}
	})
	if err != nil || stored(t, q, "NOTIFY_NORMAL") != n {
		t.Errorf("%d stored, %v", stored(t, q, "NOTIFY_NORMAL"), err)
	}
}

func TestPublishAllIsCancelledWhileTheInputBlocks(t *testing.T) {
	q := newQueue(t)
	ctx, cancel := context.WithCancel(deadline(t))
	blocked := make(chan struct{})
	t.Cleanup(func() { close(blocked) })
	dones := 0
	err := q.Publisher(PublisherConfig{}).PublishAll(ctx, manyJobs(100, func(i int) {
		if i == 50 {
			<-blocked // as a terminal at which nobody types
		}
	}), func(_ Receipt, err error) {
		if dones++; dones == 50 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || dones != 50 {
		t.Errorf("%d done, %v", dones, err)
	}
}

// restartable runs a server that can be started again where it was.
func restartable(t *testing.T) (q *Queue, stop, start func()) {
	t.Helper()
	dir := t.TempDir()
	b, err := StartBroker(broker.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop() })
	q = connect(t, b)
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	port := q.nc.ConnectedAddr()
	var number int
	if _, err := fmt.Sscanf(port, "127.0.0.1:%d", &number); err != nil {
		t.Fatal(err)
	}
	return q, func() { b.Stop() }, func() {
		again, err := StartBroker(broker.Config{Dir: dir, Port: number})
		if err != nil {
			t.Error(err)
			return
		}
		b = again
	}
}

func TestPublishAllRidesOutARestartOfTheServer(t *testing.T) {
	q, stop, start := restartable(t)
	const n = 20_000
	dones := 0
	err := q.Publisher(PublisherConfig{}).PublishAll(t.Context(), manyJobs(n, func(i int) {
		if i == n/2 {
			stop()
			start()
		}
	}), func(r Receipt, err error) {
		if err != nil || r.JobID != fmt.Sprint("j", dones) {
			t.Errorf("job %d: %+v, %v", dones, r, err)
		}
		dones++
	})
	if err != nil || dones != n || stored(t, q, "NOTIFY_NORMAL") != n {
		t.Errorf("%d done, %d stored, %v", dones, stored(t, q, "NOTIFY_NORMAL"), err)
	}
}

func BenchmarkPublishAll(b *testing.B) {
	q := newUnboundedQueue(b)
	b.ReportAllocs()
	b.ResetTimer()
	jobs := func(yield func(Priority, Job) bool) {
		for range b.N {
			if !yield(Normal, job("", "Your coffee is ready.", "w-1", "w-2")) {
				return
			}
		}
	}
	if err := q.Publisher(PublisherConfig{}).PublishAll(b.Context(), jobs, func(_ Receipt, err error) {
		if err != nil {
			b.Error(err)
		}
	}); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPublishAllWithIDs shows what it costs to look for each job in the other priorities.
func BenchmarkPublishAllWithIDs(b *testing.B) {
	q := newUnboundedQueue(b)
	b.ReportAllocs()
	b.ResetTimer()
	jobs := func(yield func(Priority, Job) bool) {
		for n := range b.N {
			if !yield(Normal, job(fmt.Sprint("j", n), "Your coffee is ready.", "w-1", "w-2")) {
				return
			}
		}
	}
	if err := q.Publisher(PublisherConfig{}).PublishAll(b.Context(), jobs, func(_ Receipt, err error) {
		if err != nil {
			b.Error(err)
		}
	}); err != nil {
		b.Fatal(err)
	}
}
