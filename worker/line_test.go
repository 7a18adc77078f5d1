package worker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// lineLooks is among how many of those that take jobs a line looks for the next one.
const lineLooks = 8

// lineModel is what a line should be, in the plainest way: two lists.
type lineModel struct{ closed, filling []*batch }

func (m *lineModel) all() []*batch { return slices.Concat(m.closed, m.filling) }

// next is the batch that a line should name, and when it may go; nil of an empty one.
func (m *lineModel) next(now time.Time, due func(*batch) time.Time) (*batch, time.Time) {
	var filling *batch // the first that is due, or the one that will be first
	for _, b := range m.filling[:min(lineLooks, len(m.filling))] {
		if filling == nil || due(filling).After(now) && due(b).Before(due(filling)) {
			filling = b
		}
	}
	switch {
	case filling == nil && len(m.closed) == 0:
		return nil, time.Time{}
	case len(m.closed) == 0:
		return filling, later(now, due(filling))
	case filling != nil && !due(filling).After(now) && filling.begun.Before(m.closed[0].begun):
		return filling, now
	}
	return m.closed[0], now
}

func (m *lineModel) remove(b *batch) {
	is := func(other *batch) bool { return other == b }
	m.closed, m.filling = slices.DeleteFunc(m.closed, is), slices.DeleteFunc(m.filling, is)
}

// lineRun does the same to a line and to its model, and compares them after every step.
type lineRun struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Time
	line  line
	model lineModel
	waits map[*batch]time.Duration // from its beginning until it is due while it takes jobs
	calls []*batch                 // under way
	out   map[*batch]int           // how often it left for good
}

func (r *lineRun) due(b *batch) time.Time { return b.begun.Add(r.waits[b]) }

func (r *lineRun) begin() {
	b := newBatch(key{message: fmt.Sprint(len(r.waits))}, r.now)
	r.waits[b] = time.Duration(r.rng.IntN(30)) * time.Millisecond
	r.line.begin(b)
	r.model.filling = append(r.model.filling, b)
}

func (r *lineRun) fill() {
	if len(r.model.filling) == 0 {
		return
	}
	b := r.model.filling[r.rng.IntN(len(r.model.filling))]
	b.closed = true
	r.line.filled(b)
	r.model.remove(b)
	r.model.closed = append(r.model.closed, b)
}

// call takes the next one out if it may go, as the schedule does: after that it takes no more jobs.
func (r *lineRun) call() (taken bool) {
	want, when := r.model.next(r.now, r.due)
	i, at := r.line.next(r.now, r.due)
	if !at.Equal(when) || want != nil && r.line.batches[i] != want {
		r.t.Fatalf("next is %d of %v, in %v; want %v in %v", i, names(r.line.batches), at.Sub(r.now), names([]*batch{want}), when.Sub(r.now))
	}
	if want == nil || at.After(r.now) {
		return false
	}
	if b := r.line.take(i); b != want {
		r.t.Fatalf("took %s, want %s", b.key.message, want.key.message)
	}
	want.closed = true
	r.model.remove(want)
	r.calls = append(r.calls, want)
	return true
}

// endCall ends one of the calls: the batch is done, or comes back to the front or behind the others
// that are closed.
func (r *lineRun) endCall() {
	if len(r.calls) == 0 {
		return
	}
	i := r.rng.IntN(len(r.calls))
	b := r.calls[i]
	r.calls = slices.Delete(r.calls, i, i+1)
	switch r.rng.IntN(3) {
	case 0:
		r.out[b]++
	case 1:
		r.line.giveBack(b, true)
		r.model.closed = slices.Insert(r.model.closed, 0, b)
	default:
		b.begun = r.now
		r.line.giveBack(b, false)
		r.model.closed = append(r.model.closed, b)
	}
}

// shed drops some, as the schedule does when it defers them; it is asked from the end to the front.
func (r *lineRun) shed() {
	var asked []*batch
	drop := map[*batch]bool{}
	for _, b := range r.model.all() {
		drop[b] = r.rng.IntN(3) == 0
	}
	r.line.keep(func(b *batch) bool {
		asked = append(asked, b)
		b.closed = b.closed || drop[b]
		return !drop[b]
	})
	want := r.model.all()
	slices.Reverse(want)
	if !slices.Equal(asked, want) {
		r.t.Fatalf("keep asked for %v, want %v", names(asked), names(want))
	}
	for b, dropped := range drop {
		if dropped {
			r.model.remove(b)
			r.out[b]++
		}
	}
}

func (r *lineRun) check(after string) {
	r.t.Helper()
	if !slices.Equal(r.line.batches, r.model.all()) || r.line.closed != len(r.model.closed) {
		r.t.Fatalf("after %s the line is %v with %d closed, want %v and %v",
			after, names(r.line.batches), r.line.closed, names(r.model.closed), names(r.model.filling))
	}
	for i, b := range r.line.batches {
		if b.closed != (i < r.line.closed) {
			r.t.Fatalf("after %s %d count as closed, and %s at %d is %v", after, r.line.closed, b.key.message, i, b.closed)
		}
	}
}

func names(batches []*batch) (all []string) {
	for _, b := range batches {
		if b == nil {
			all = append(all, "none")
		} else {
			all = append(all, b.key.message)
		}
	}
	return all
}

// Whatever is done to a line, it is what two plain lists would be, and every batch leaves it once.
func TestLineAgainstAModel(t *testing.T) {
	for seed := range uint64(300) {
		r := &lineRun{
			t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Now(),
			waits: map[*batch]time.Duration{}, out: map[*batch]int{},
		}
		steps := []struct {
			name   string
			weight int
			do     func()
		}{
			{"begin", 6, r.begin}, {"fill", 3, r.fill}, {"call", 4, func() { r.call() }}, {"endCall", 4, r.endCall}, {"shed", 1, r.shed},
		}
		for range 200 {
			r.now = r.now.Add(time.Millisecond) // so that no two begin at the same time
			at := r.rng.IntN(18)
			for _, s := range steps {
				if at -= s.weight; at < 0 {
					s.do()
					r.check(s.name)
					break
				}
			}
		}
		r.now = r.now.Add(time.Hour) // all are due
		for r.call() {
			r.check("call")
		}
		for _, b := range r.calls {
			r.out[b]++
		}
		for b := range r.waits {
			if r.out[b] != 1 {
				t.Errorf("seed %d: batch %s came out %d times", seed, b.key.message, r.out[b])
			}
		}
	}
}

// Who is next, in words.
func TestLineNext(t *testing.T) {
	begun := time.Now()
	const linger = 20
	due := func(b *batch) time.Time { return b.begun.Add(linger * time.Millisecond) }
	type one struct {
		begun  int // ms
		closed bool
	}
	for _, c := range []struct {
		name     string
		batches  []one
		now      int
		next, at int // at -1: never
	}{
		{"nothing", nil, 5, 0, -1},
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
		var l line
		for _, o := range c.batches {
			b := newBatch(key{}, begun.Add(time.Duration(o.begun)*time.Millisecond))
			l.begin(b)
			if o.closed {
				b.closed = true
				l.filled(b)
			}
		}
		want := begun.Add(time.Duration(c.at) * time.Millisecond)
		if c.at < 0 {
			want = time.Time{}
		}
		if i, at := l.next(begun.Add(time.Duration(c.now)*time.Millisecond), due); i != c.next || !at.Equal(want) {
			t.Errorf("%s: %d in %v, want %d in %v", c.name, i, at.Sub(begun), c.next, want.Sub(begun))
		}
	}
}

// Maps of closed batches are kept for others, empty, but not without end: those of a flood would stay
// for good.
func TestSpares(t *testing.T) {
	var s spares
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

// The last free slots are kept for others, but where many have calls under way, none are.
func TestSharers(t *testing.T) {
	for _, c := range []struct {
		projects, each int
		want           bool
	}{{1, 31, true}, {1, 32, false}, {6, 8, true}, {6, 9, false}, {7, 7, true}, {7, 8, false}, {8, 7, true}} {
		b := newBacklog(Config{Concurrency: 63, Linger: -1})
		for i := range c.projects * c.each {
			p := fmt.Sprint("p", i%c.projects)
			b.project(p).successes = 63 // it has called before
			b.lease(queue.Normal, text(p, fmt.Sprint("text", i), "w"), 0)
		}
		if n := len(b.granted()); n != c.projects*c.each {
			t.Fatalf("%d calls under way, want %d", n, c.projects*c.each)
		}
		b.lease(queue.Normal, text("p0", "one more", "w"), 0)
		if got := b.next(b.now, true) != nil; got != c.want {
			t.Errorf("%d projects with %d calls each: another of one of them goes: %v, want %v", c.projects, c.each, got, c.want)
		}
	}
}
