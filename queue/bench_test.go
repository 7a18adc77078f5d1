package queue

import (
	"fmt"
	"iter"
	"testing"
)

// BenchmarkTakeAndAck is the way of jobs from a real nats-server and back: decoded, leased, and acked
// so many together with one confirmation. An op is one job.
func BenchmarkTakeAndAck(b *testing.B) {
	for _, together := range []int{1, 50, 2000} {
		b.Run(fmt.Sprint("together=", together), func(b *testing.B) {
			q := newUnboundedQueue(b)
			err := q.Publisher(PublisherConfig{}).PublishAll(b.Context(), repeated(b.N), func(_ Receipt, err error) {
				if err != nil {
					b.Error(err)
				}
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			jobs, err := q.Jobs(b.Context(), JobsConfig{})
			if err != nil {
				b.Fatal(err)
			}
			defer jobs.Close()
			var held []*Lease
			for left := b.N; left > 0; {
				leases, err := jobs.Next(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				held = append(held, leases...)
				for len(held) >= min(together, left) && left > 0 {
					n := min(together, left)
					if err := Ack(b.Context(), held[:n]); err != nil {
						b.Fatal(err)
					}
					held, left = held[n:], left-n
				}
			}
		})
	}
}

// repeated is the same job n times, each with an id of its own.
func repeated(n int) iter.Seq2[Priority, Job] {
	return func(yield func(Priority, Job) bool) {
		for range n {
			if !yield(Normal, job("", "Your coffee is ready.", "w-1")) {
				return
			}
		}
	}
}
