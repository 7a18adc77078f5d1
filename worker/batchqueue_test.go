package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Who is next, in words.
func TestBatchQueueNext(t *testing.T) {
	begun := time.Now()
	const linger = 20
	due := func(b *batch) time.Time { return b.begun.Add(linger * time.Millisecond) }
	type one struct {
		begun  int // ms
		sealed bool
	}
	for _, c := range []struct {
		name     string
		batches  []one
		now      int
		next, at int // at -1: never
	}{
		{"nothing", nil, 5, -1, -1},
		{"one that fills", []one{{0, false}}, 5, 0, linger},
		{"one that has had its time", []one{{0, false}}, 25, 0, 25},
		{"a full one before one that fills since before", []one{{3, true}, {0, false}}, 5, 0, 5},
		{"one that has had its time, before a full one begun after it", []one{{3, true}, {0, false}}, linger, 1, linger},
		{"a full one before one that has had its time and was begun after it", []one{{3, true}, {4, false}}, 30, 0, 30},
		{"the first of the full ones", []one{{9, true}, {3, true}}, 30, 0, 30},
		{"the first of those that fill", []one{{0, false}, {9, false}}, 12, 0, linger},
		{"one that has had its time behind one that waits for more", []one{{70, false}, {0, false}}, 30, 1, 30},
		{"one that will have had its time first", []one{{70, false}, {9, false}}, 12, 1, 9 + linger},
	} {
		var q batchQueue
		for _, o := range c.batches {
			b := newBatch(key{}, begun.Add(time.Duration(o.begun)*time.Millisecond))
			q.begin(b)
			if o.sealed {
				b.sealed = true
				q.filled(b)
			}
		}
		want := begun.Add(time.Duration(c.at) * time.Millisecond)
		if c.at < 0 {
			want = time.Time{}
		}
		b, at := q.next(begun.Add(time.Duration(c.now)*time.Millisecond), false, due)
		if i := slices.Index(q.all(), b); i != c.next || !at.Equal(want) {
			t.Errorf("%s: %d in %v, want %d in %v", c.name, i, at.Sub(begun), c.next, want.Sub(begun))
		}
	}
}

// Those that are taken out are asked for from the last to the first; the others stay in their order.
func TestBatchQueueTakeIf(t *testing.T) {
	var q batchQueue
	var batches []*batch
	for i := range 8 {
		b := newBatch(key{message: fmt.Sprint(i)}, time.Time{})
		batches = append(batches, b)
		q.begin(b)
		if i < 4 {
			b.sealed = true
			q.filled(b)
		}
	}
	var asked []*batch
	taken := q.takeIf(func(b *batch) bool { asked = append(asked, b); return b.key.message > "1" && b.key.message != "5" })
	slices.Reverse(asked)
	if !slices.Equal(asked, batches) {
		t.Errorf("asked in another order than backwards")
	}
	want := []*batch{batches[7], batches[6], batches[4], batches[3], batches[2]}
	if !slices.Equal(taken, want) || !slices.Equal(q.sealed, batches[:2]) || !slices.Equal(q.filling, batches[5:6]) {
		t.Errorf("took %d, left %d sealed and %d filling; want 5, 2 and 1 of the right ones", len(taken), len(q.sealed), len(q.filling))
	}
	now := time.Time{}.Add(time.Hour)
	for i, wait := range map[int]time.Duration{7: 0, 6: 3, 4: 1, 3: 2} {
		b := batches[i]
		b.parts[0].meet().notBefore = now.Add(wait)
		q.takeBack(now, b)
	}
	if !slices.Equal(q.sealed, []*batch{batches[7], batches[0], batches[1]}) || !slices.Equal(q.resting, []*batch{batches[4], batches[3], batches[6]}) {
		t.Error("batches that came back stand in the wrong order")
	}
}

// Maps of sealed batches are kept for others, empty, but not without end: those of a flood would stay
// for good.
func TestSetPool(t *testing.T) {
	var s setPool
	for i := range 1000 {
		s.put(map[string]struct{}{fmt.Sprint(i): {}})
		s.put(nil) // of a batch of one job
	}
	if len(s) == 0 || len(s) > 100 {
		t.Errorf("%d maps are kept of 1000, want up to 100", len(s))
	}
	for n := range 200 {
		m := s.get()
		if len(m) > 0 {
			t.Fatalf("map %d holds %v", n, m)
		}
		m["mine"] = struct{}{} // so that nobody else may get it
	}
}

// What rested after a failure has its turn by the time from which it may go; it does not probe a gate
// while there is anything else.
func TestRestingBatchesHaveTheirTurn(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		name            string
		rested          int // from when it may go, in milliseconds
		other, otherDue int // when the other was begun, and is due; negative: there is none
		now             int
		probing         bool
		want            string
		at              int
	}{
		{"alone, not yet", 500, -1, 0, 100, false, "rested", 500},
		{"alone, probing", 500, -1, 0, 600, true, "rested", 600},
		{"before one begun later", 500, 600, 600, 700, false, "rested", 700},
		{"after one begun earlier", 500, 400, 400, 700, false, "other", 700},
		{"one begun later probes", 500, 600, 600, 700, true, "other", 700},
		{"one begun later, not due yet, probes", 500, 600, 900, 700, true, "other", 900},
		{"before one begun earlier that waits for more", 500, 400, 900, 300, false, "rested", 500},
	} {
		var q batchQueue
		rested, other := newBatch(key{message: "rested"}, start), newBatch(key{message: "other"}, start.Add(time.Duration(c.other)*time.Millisecond))
		from := start.Add(time.Duration(c.rested) * time.Millisecond)
		rested.sealed, rested.parts[0].meet().notBefore = true, from
		q.takeBack(start, rested)
		if c.other >= 0 {
			q.begin(other)
		}
		b, at := q.next(start.Add(time.Duration(c.now)*time.Millisecond), c.probing, func(*batch) time.Time { return start.Add(time.Duration(c.otherDue) * time.Millisecond) })
		if b.key.message != c.want || at.Sub(start) != time.Duration(c.at)*time.Millisecond {
			t.Errorf("%s: %s at %v, want %s at %d ms", c.name, b.key.message, at.Sub(start), c.want, c.at)
		}
	}
}
