package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// While the jobs of a backlog stream in, batches wait for them; not for a trickle, not when the
// stream pauses, not where all are different, not for longer than ten lingers after the last that
// joined, nor than fifty in all.
func TestBatchesFillFromABacklog(t *testing.T) {
	const linger = 20 * time.Millisecond
	begun := time.Now()
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	n := 0
	add := func(s *schedule, now time.Time, behind uint64) {
		n++
		s.add(now, queue.NewLease(&queue.Lease{Job: text("p", "hello", fmt.Sprint("w-", n)), Priority: queue.Normal, History: queue.History{PublishedAt: now}, Behind: behind}, nil))
	}
	// goes is the first time, to the millisecond, at which a call is granted.
	goes := func(s *schedule, from int) int {
		for ms := from; ms < 2000; ms++ {
			if b, _ := s.next(at(ms)); b != nil {
				return ms
			}
		}
		return -1
	}
	fresh := func() *schedule { return newSchedule(Config{Linger: linger}.withDefaults()) }

	s := fresh()
	add(s, at(0), 0)
	add(s, at(15), 0)
	if ms := goes(s, 15); ms != 20 {
		t.Errorf("a trickle went at %d ms, want 20", ms)
	}
	s = fresh()
	add(s, at(0), 100)
	add(s, at(15), 99)
	if ms := goes(s, 15); ms != 115 {
		t.Errorf("a stream that paused at 15 ms went at %d ms, want 115", ms)
	}
	s = fresh()
	add(s, at(0), 100)
	add(s, at(30), 0)
	if ms := goes(s, 30); ms < 30 || ms > 40 {
		t.Errorf("the end of a backlog at 30 ms went at %d ms, want 30 to 40", ms)
	}
	s = fresh()
	add(s, at(0), 100)
	first, _ := s.next(at(20))
	if first == nil {
		t.Fatal("the first of its kind did not go at 20 ms")
	}
	s.ended(at(21), at(20), first, first.record(at(21), s.cfg, okReport, nil))
	add(s, at(100), 100)
	for ms := 110; ms < 300; ms += 10 {
		s.backlog.expect(at(ms-80), 1, true) // others
	}
	if ms := goes(s, 295); ms != 300 {
		t.Errorf("a batch that nobody joined went at %d ms, want 300", ms)
	}
	s = fresh()
	for ms := range 100 {
		s.add(at(ms), queue.NewLease(&queue.Lease{Job: text("p", fmt.Sprint("text", ms), "w"), Priority: queue.Normal, History: queue.History{PublishedAt: at(ms)}, Behind: 100}, nil))
		b, _ := s.next(at(ms))
		if b != nil {
			s.ended(at(ms), at(ms), b, b.record(at(ms), s.cfg, okReport, nil))
		}
		if (b != nil) != (ms >= 20) {
			t.Fatalf("at %d ms, of different ones, %v went", ms, b)
		}
	}
	s = fresh()
	for ms := 0; ms < 1000; ms += 10 {
		add(s, at(ms), 100)
		if b, _ := s.next(at(ms)); b != nil {
			t.Fatalf("went at %d ms although jobs were streaming in", ms)
		}
	}
	if ms := goes(s, 995); ms != 1000 {
		t.Errorf("an endless stream went at %d ms, want 1000", ms)
	}
	s = fresh()
	for range 500 {
		add(s, at(0), 100)
	}
	if ms := goes(s, 0); ms != 0 {
		t.Errorf("a full batch went at %d ms, want 0", ms)
	}
}
