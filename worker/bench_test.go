package worker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

var okReport = chatapi.Report{Status: 200}

// BenchmarkSchedule is the way of jobs through the schedule: add, next, record, ended. An op is one
// job; jobs arrive 10,000 at a time.
func BenchmarkSchedule(b *testing.B) {
	for name, shape := range map[string]struct{ projects, messages int }{
		"10 projects, 5 messages":      {10, 5},
		"1000 projects, 5 messages":    {1000, 5},
		"10 projects, all distinct":    {10, 0},
		"1 project, all distinct":      {1, 0},
		"1000 projects, all distinct ": {1000, 0},
	} {
		b.Run(name, func(b *testing.B) {
			const window = 10_000
			leases := make([]*queue.Lease, window)
			now := time.Now()
			for i := range leases {
				message := fmt.Sprint("text", i)
				if shape.messages > 0 {
					message = fmt.Sprint("text", i/shape.projects%shape.messages)
				}
				leases[i] = queue.NewLease(&queue.Lease{Job: text(fmt.Sprint("p", i%shape.projects), message, fmt.Sprint("w-", i)), Priority: queue.Normal, History: queue.History{PublishedAt: now}}, nil)
			}
			s := newSchedule(Config{}.withDefaults())
			b.ReportAllocs()
			calls := 0
			for n := 0; n < b.N; n += window {
				for _, l := range leases[:min(window, b.N-n)] {
					s.add(now, l)
				}
				now = now.Add(time.Second)
				for next, _ := s.next(now); next != nil; next, _ = s.next(now) {
					calls++
					s.ended(now, now, next, next.record(now, Config{RetryFor: time.Hour}, okReport, nil))
				}
			}
			b.ReportMetric(float64(b.N)/float64(max(1, calls)), "jobs/call")
		})
	}
}

// BenchmarkRecord is what a call of 500 jobs of one recipient came to. An op is one call.
func BenchmarkRecord(b *testing.B) {
	rejected := chatapi.Report{Status: 200, Failures: []chatapi.Failure{{Reason: "blocked", WovenIDs: people("w", 50)}}}
	for name, report := range map[string]chatapi.Report{"all delivered": okReport, "a tenth rejected": rejected} {
		b.Run(name, func(b *testing.B) {
			now := time.Now()
			leases := make([]*queue.Lease, 500)
			for i, id := range people("w", 500) {
				leases[i] = queue.NewLease(&queue.Lease{Job: text("p", "hello", id), Priority: queue.Normal, History: queue.History{PublishedAt: now}}, nil)
			}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				batch := newBatch(key{project: "p", message: "hello"}, now)
				for _, l := range leases {
					batch.add(now, newTask(l), 500, new(setPool))
				}
				b.StartTimer()
				if res := batch.record(now, Config{RetryFor: time.Hour}, report, nil); len(res.ended) != 500 {
					b.Fatal(len(res.ended))
				}
			}
		})
	}
}

// silent is a holder and a graveyard that take everything at once.
type silent struct{}

func (silent) Ack(context.Context, []*queue.Lease) error               { return nil }
func (silent) Defer(context.Context, []queue.Deferral) error           { return nil }
func (silent) Split(context.Context, *queue.Lease, int) error          { return nil }
func (silent) Release(*queue.Lease)                                    {}
func (silent) Bury(context.Context, []queue.DeadLetter) ([]int, error) { return nil, nil }

// BenchmarkSettle is what settling costs besides the server: letters and leases of 500 jobs of one
// recipient. An op is all of them.
func BenchmarkSettle(b *testing.B) {
	for name, each := range map[string]int{"all delivered": 0, "a tenth rejected": 10, "all rejected": 1} {
		b.Run(name, func(b *testing.B) {
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				var tasks []*task
				for i, id := range people("w", 500) {
					t := newTask(queue.NewLease(&queue.Lease{Job: text("p", "hello", id), Priority: queue.Normal, History: queue.History{PublishedAt: now}}, silent{}))
					if each > 0 && i%each == 0 {
						t.fail(id, queue.Rejected, "blocked", 200)
					} else {
						t.deliver()
					}
					tasks = append(tasks, t)
				}
				b.StartTimer()
				s := settlement{graveyard: silent{}}
				if s.settle(context.Background(), now, tasks); len(s.left) > 0 || s.err != nil {
					b.Fatal(s.left, s.err)
				}
			}
		})
	}
}
