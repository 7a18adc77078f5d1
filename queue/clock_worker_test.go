package queue_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
	"github.com/chatrelay/chatrelay/worker"
)

// Workers whose clocks are wrong deliver what waits for its time as others do: once, in time by the clock of
// NATS, and without asking NATS over and over whether it is time. A worker that went by its own clock, 120 s
// behind, published 23,700 messages for 50 jobs.
func TestWorkerWithAWrongClockDeliversInTime(t *testing.T) {
	for _, wrong := range []time.Duration{-120 * time.Second, 300 * time.Second} {
		t.Run(wrong.String(), func(t *testing.T) {
			b, err := queue.StartBroker(broker.Config{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Stop)
			q, err := queue.Connect(t.Context(), queue.Config{URL: b.URL()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(q.Close)
			if _, err := q.Init(t.Context(), queue.InitConfig{}); err != nil {
				t.Fatal(err)
			}
			const jobs = 50
			due := time.Now().Add(2 * time.Second)
			for i := range jobs {
				_, err := q.Publisher(queue.PublisherConfig{}).Publish(t.Context(), queue.Normal, queue.Job{
					ID: fmt.Sprint("job-", i), ProjectID: "0f8fad5b-d9cb-469f-a165-70867728950e",
					Message: fmt.Sprint("message ", i), WovenIDs: []string{"w"}, DeliverAt: due,
				})
				if err != nil {
					t.Fatal(err)
				}
			}

			queue.SetMachineClock(q, func() time.Time { return time.Now().Add(wrong) })
			var told []error
			held, err := q.Jobs(t.Context(), queue.JobsConfig{OnError: func(err error) { told = append(told, err) }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(held.Close)
			if off := (q.ClockOffset() + wrong).Abs(); off > time.Second || len(told) != 1 {
				t.Fatalf("the clock of NATS is said to be %v ahead, and %v was reported", q.ClockOffset(), told)
			}
			var mu sync.Mutex
			called := map[string][]time.Time{}
			ctx, stop := context.WithCancel(t.Context())
			before := queue.LastSequence(t, q, queue.LaterStream)
			w := worker.New(worker.Config{Now: q.Now, Linger: -1}, held, senderFunc(func(n chatapi.Notification) {
				mu.Lock()
				defer mu.Unlock()
				called[n.Message] = append(called[n.Message], time.Now())
				if len(called) == jobs {
					time.AfterFunc(time.Second, stop) // had there been more calls
				}
			}), q)
			limit := time.AfterFunc(30*time.Second, stop)
			defer limit.Stop()
			if err := w.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if len(called) != jobs {
				t.Errorf("%d jobs of %d were called for", len(called), jobs)
			}
			for message, times := range called {
				if len(times) != 1 || times[0].Before(due) || times[0].Sub(due) > 10*time.Second {
					t.Errorf("%s, due at %v, was called for at %v", message, due, times)
				}
			}
			// Each job is stored there twice: as a schedule, and when the server publishes it.
			if n := queue.LastSequence(t, q, queue.LaterStream) - before; n > 2*jobs {
				t.Errorf("%d messages were stored in %s for %d jobs", n, queue.LaterStream, jobs)
			}
		})
	}
}

// senderFunc is a Chat API that delivers everything.
type senderFunc func(chatapi.Notification)

func (f senderFunc) Send(_ context.Context, n chatapi.Notification) (chatapi.Report, error) {
	f(n)
	return chatapi.Report{}, nil
}
