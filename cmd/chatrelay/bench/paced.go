package bench

import (
	"context"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// memoryEvery is how often memory is looked at while jobs are published.
const memoryEvery = 10 * time.Second

// publishPaced publishes at the workload's rate to a program that is idle.
func (m *measurement) publishPaced(ctx context.Context, run *Run) error {
	if m.workload.Timed {
		m.acked = make([]int64, m.workload.Jobs)
	}
	pub := m.q.Publisher(queue.PublisherConfig{})
	var failed error
	stored := 0
	begun := time.Now()
	err := pub.PublishAll(ctx, func(yield func(queue.Priority, queue.Job) bool) {
		n := 0
		for priority, job := range m.jobs() {
			due := begun.Add(time.Duration(float64(n) / m.workload.Rate * float64(time.Second)))
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait)
			}
			if n++; !yield(priority, job) {
				return
			}
		}
	}, func(_ queue.Receipt, err error) {
		if err != nil && failed == nil {
			failed = err
		}
		if m.acked != nil {
			m.acked[stored] = time.Now().UnixNano()
		}
		stored++
		if time.Since(begun) >= time.Duration(len(run.Memory)+1)*memoryEvery {
			var sum uint64
			for _, c := range m.children {
				_, _, now := c.usage()
				sum += now
			}
			run.Memory = append(run.Memory, sum)
		}
	})
	if err == nil {
		err = failed
	}
	return err
}
