package worker

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// backlog is a schedule into which alike jobs stream from a long backlog, so that batches wait for
// company. Its time is passed in, as everywhere.
type backlog struct {
	*schedule
	now time.Time
	n   int // jobs so far
}

func newBacklog(cfg Config) *backlog {
	return &backlog{schedule: newSchedule(cfg.withDefaults()), now: time.Now()}
}

// arrive adds jobs with the same text, each for somebody else.
func (b *backlog) arrive(p queue.Priority, project, message string, jobs int) {
	for range jobs {
		b.n++
		b.lease(p, text(project, message, fmt.Sprint("w-", b.n)), 1000)
	}
}

func (b *backlog) lease(p queue.Priority, job queue.Job, behind uint64) {
	b.add(b.now, queue.NewLease(&queue.Lease{Job: job, Priority: p, History: queue.History{PublishedAt: b.now}, Behind: behind}, nil))
}

func (b *backlog) pass(ms int) { b.now = b.now.Add(time.Duration(ms) * time.Millisecond) }

// granted are the texts of those batches that may go now, sorted.
func (b *backlog) granted() []string {
	texts := []string{}
	for next := b.next(b.now, false); next != nil; next = b.next(b.now, false) {
		texts = append(texts, next.key.message)
	}
	slices.Sort(texts)
	return texts
}

// When those that take jobs fill three quarters of the window the oldest go, whatever their project
// and priority, and no more of them than must.
func TestPressLetsTheOldestGo(t *testing.T) {
	b := newBacklog(Config{Window: 100, Concurrency: 1600}) // nobody waits for a slot
	texts := []string{}
	for i := range 15 {
		b.pass(1)
		texts = append(texts, fmt.Sprintf("text %02d", i))
		b.arrive(queue.Priorities()[i%3], fmt.Sprint("p", i%4), texts[i], 5)
	}
	b.pass(30) // all have lingered, but wait on while jobs stream in
	for _, step := range []struct {
		jobs int // that join the youngest
		goes []string
		left int
	}{
		{0, nil, 75}, // three quarters, just
		{1, texts[0:1], 71},
		{4, nil, 75},
		{12, texts[1:4], 72},
		{3, nil, 75},
		{6, texts[4:6], 71},
	} {
		b.arrive(queue.Priorities()[14%3], "p2", texts[14], step.jobs)
		if got := b.granted(); !slices.Equal(got, step.goes) {
			t.Fatalf("with %d more %q went, want %q", step.jobs, got, step.goes)
		}
		if b.gather.jobs != step.left {
			t.Fatalf("with %d more %d jobs gather, want %d", step.jobs, b.gather.jobs, step.left)
		}
	}
}

// A batch that was pressed and cannot go yet still takes jobs; they count no longer, and press
// nobody else.
func TestPressedBatchTakesMoreJobs(t *testing.T) {
	b := newBacklog(Config{Window: 40})
	b.arrive(queue.Normal, "p", "first", 16)
	b.arrive(queue.Normal, "p", "then", 8)
	b.arrive(queue.Normal, "p", "second", 15)
	b.arrive(queue.Normal, "p", "then", 8)
	b.press(b.now) // two at once
	open := func(message string) *batch {
		_, x := b.kinds.find(key{queue.Normal, "p", message})
		return x
	}
	first, then, second := open("first"), open("then"), open("second")
	if !first.pressed || !then.pressed || second.pressed || b.gather.jobs != 15 {
		t.Fatalf("pressed: %v, %v, %v, %d jobs gather; want true, true, false, 15", first.pressed, then.pressed, second.pressed, b.gather.jobs)
	}
	b.arrive(queue.Normal, "p", "first", 20)
	b.press(b.now)
	if first.jobs != 36 || second.pressed || b.gather.jobs != 15 {
		t.Errorf("%d jobs in the pressed one, the other pressed: %v, %d jobs gather; want 36, false, 15", first.jobs, second.pressed, b.gather.jobs)
	}
	b.pass(30)
	if got := b.granted(); !slices.Equal(got, []string{"first", "then"}) || b.gather.jobs != 15 {
		t.Errorf("%q went and %d jobs gather, want the first two, and 15", got, b.gather.jobs)
	}
}

// What is full goes although something of the same project fills since before.
func TestFullBatchDoesNotWaitForAFillingOne(t *testing.T) {
	b := newBacklog(Config{MaxRecipients: 10})
	b.arrive(queue.Normal, "p", "filling", 2)
	b.pass(1)
	b.arrive(queue.Normal, "p", "full", 9)
	b.pass(30)
	if got := b.granted(); len(got) > 0 {
		t.Fatalf("%q went although it could take more", got)
	}
	b.arrive(queue.Normal, "p", "full", 1)
	if got := b.granted(); !slices.Equal(got, []string{"full"}) {
		t.Errorf("%q went, want the full one", got)
	}
	// Nor does one that is closed because the next job of its kind did not fit in.
	b.pass(1)
	b.lease(queue.Normal, text("p", "twice", "a"), 1000)
	b.lease(queue.Normal, text("p", "twice", "a"), 1000)
	if got := b.granted(); !slices.Equal(got, []string{"twice"}) || b.kinds.open != 2 {
		t.Errorf("%q went and %d still fill, want the first of two, and two", got, b.kinds.open)
	}
	b.arrive(queue.Normal, "p", "full", 5000)
	if n := len(b.gather.begun); n > 100 {
		t.Errorf("of 500 full ones %d are remembered because of one that fills since before", n)
	}
}

// While acks are under way, which make room, the rest of a backlog is expected still; where there was
// none, none is.
func TestBacklogIsExpectedWhileRoomIsMade(t *testing.T) {
	b := newBacklog(Config{})
	b.arrive(queue.Normal, "p", "of a backlog", 2)
	b.lease(queue.Urgent, text("p", "alone", "a"), 0)
	b.lease(queue.Urgent, text("p", "alone", "b"), 0)
	for i, want := range [][]string{{"alone"}, {}, {}, {"of a backlog"}} { // it has waited for 200ms then
		b.pass(51)
		b.gather.resume(b.now.Add(100 * time.Millisecond))
		if got := b.granted(); !slices.Equal(got, want) {
			t.Errorf("in step %d %q went, want %q", i, got, want)
		}
	}
}

// check holds the schedule against what it says of itself: which batches are open and what is in
// them, and how many jobs gather, wait, and are under way for whom.
func (b *backlog) check(t *testing.T, after string) {
	t.Helper()
	gathering, held, active, open := 0, 0, 0, 0
	maps := map[uintptr]bool{}
	for _, m := range b.spares {
		maps[reflect.ValueOf(m).Pointer()] = true
		if len(m) > 0 {
			t.Fatalf("after %s a spare map holds %v", after, m)
		}
	}
	if len(maps) != len(b.spares) {
		t.Fatalf("after %s there are %d spares, and only %d maps", after, len(b.spares), len(maps))
	}
	for id, p := range b.projects {
		waiting := 0
		if p.underway > 0 {
			active++
		}
		for _, f := range p.flows {
			if f == nil {
				continue
			}
			for i, x := range f.line.batches {
				waiting += x.jobs
				_, taking := b.kinds.find(x.key)
				if x.closed != (i < f.line.closed) || x.closed == (taking == x) {
					t.Fatalf("after %s a batch at %d of %d closed ones: closed %v, open to jobs %v", after, i, f.line.closed, x.closed, taking == x)
				}
				if !x.closed {
					open++
				}
				if !x.closed && !x.pressed {
					gathering += x.jobs
				}
				if x.taken == nil {
					continue
				}
				if at := reflect.ValueOf(x.taken).Pointer(); maps[at] {
					t.Fatalf("after %s two share a map", after)
				} else {
					maps[at] = true
				}
				for _, r := range x.parts[0].recipients {
					if _, ok := x.taken[r.id]; !ok || len(x.taken) != x.size {
						t.Fatalf("after %s a batch of %d recipients knows %v", after, x.size, x.taken)
					}
				}
			}
		}
		if held += waiting; p.waiting != waiting {
			t.Fatalf("after %s %d jobs of %s wait, want %d", after, p.waiting, id, waiting)
		}
	}
	if b.gather.jobs != gathering || b.held != held || b.kinds.open != open || b.active != active {
		t.Fatalf("after %s %d gather, %d wait, %d batches are open, %d projects call; want %d, %d, %d, %d",
			after, b.gather.jobs, b.held, b.kinds.open, b.active, gathering, held, open, active)
	}
}

// Whatever happens to a schedule, it knows how many jobs gather, and all come out in the end.
func TestGatheringIsCounted(t *testing.T) {
	for seed := range uint64(150) {
		runGathering(t, seed)
	}
}

func runGathering(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	people, limit := 12, 6
	if seed%2 == 0 {
		people, limit = 100, 40
	}
	b := newBacklog(Config{Window: 40, MaxRecipients: limit, Concurrency: 16, RetryFor: time.Hour})
	added, ended := 0, map[*task]bool{}
	end := func(tasks []*task) {
		for _, x := range tasks {
			if ended[x] {
				t.Fatalf("seed %d: a task of %q came out twice", seed, x.lease.Job.Message)
			}
			ended[x] = true
		}
	}
	var calls []*batch
	back := func(err error) { // one of the calls, with how it ended
		if len(calls) == 0 {
			return
		}
		i := rng.IntN(len(calls))
		x := calls[i]
		calls = slices.Delete(calls, i, i+1)
		res := x.record(b.now, b.cfg, okReport, err)
		end(res.finished)
		b.done(b.now, b.now.Add(-time.Millisecond), x, res)
	}
	for range 300 {
		var did string
		p := b.projects[fmt.Sprint("p", rng.IntN(4))] // one of those there are, if any
		waits := p != nil && p.waiting > 0
		switch what := rng.IntN(16); {
		case what < 3:
			did = "next"
			if x := b.next(b.now, rng.IntN(2) == 0); x != nil {
				calls = append(calls, x)
			}
		case what < 5:
			did = "done"
			kinds := []chatapi.Kind{chatapi.Refused, chatapi.Temporary, chatapi.Limited, chatapi.Credential}
			if i := rng.IntN(12); i < len(kinds) {
				back(&chatapi.Error{Kind: kinds[i]})
			} else {
				back(nil)
			}
		case what == 5 && waits:
			did = "shed"
			p.share = rng.IntN(p.waiting)
			b.shed(b.now, p, float64(10*rng.IntN(2)))
		case what == 6 && waits && p.gate.err != nil:
			did = "evict"
			b.evict(b.now, p)
		case what == 7 && rng.IntN(30) == 0:
			did = "drain"
			end(b.drain())
		default:
			did = "add"
			job := text(fmt.Sprint("p", rng.IntN(4)), fmt.Sprint("text", rng.IntN(3)))
			for _, w := range rng.Perm(people)[:1+rng.IntN(limit/2)] {
				job.WovenIDs = append(job.WovenIDs, fmt.Sprint("w-", w))
			}
			if rng.IntN(20) == 0 {
				job.ExpiresAt = b.now.Add(50 * time.Millisecond)
			}
			added++
			b.lease(queue.Priorities()[rng.IntN(3)], job, uint64(rng.IntN(5)))
		}
		end(b.finished)
		end(b.deferred)
		b.finished, b.deferred = nil, nil
		b.check(t, fmt.Sprintf("seed %d, %s,", seed, did))
		b.pass(rng.IntN(4))
	}
	for len(calls) > 0 {
		back(nil)
	}
	end(b.finished)
	end(b.deferred)
	end(b.drain())
	b.check(t, "the end")
	if len(ended) != added || b.gather.jobs != 0 || b.held != 0 {
		t.Fatalf("seed %d: %d of %d jobs came out, %d gather, %d wait", seed, len(ended), added, b.gather.jobs, b.held)
	}
}

// When the last job of a backlog has come, all that waited for company go at once, of other projects
// as well; not those of another priority, nor what has not lingered.
func TestEndOfBacklogLetsAllGo(t *testing.T) {
	b := newBacklog(Config{})
	b.arrive(queue.Bulk, "p", "other backlog", 2)
	for i := range 3 {
		b.arrive(queue.Normal, fmt.Sprint("p", i), fmt.Sprint("text ", i), 2)
	}
	for range 30 { // looked at every millisecond, so that they sleep
		b.pass(1)
		b.arrive(queue.Normal, "p", "streams in", 1)
		if got := b.granted(); len(got) > 0 {
			t.Fatalf("%q went while jobs stream in", got)
		}
	}
	b.arrive(queue.Normal, "p", "young", 2)
	b.lease(queue.Normal, text("p", "streams in", "the last"), 0)
	if got, want := b.granted(), []string{"streams in", "text 0", "text 1", "text 2"}; !slices.Equal(got, want) {
		t.Errorf("%q went, want %q", got, want)
	}
	b.pass(20)
	if got, want := b.granted(), []string{"young"}; !slices.Equal(got, want) {
		t.Errorf("then %q went, want %q", got, want)
	}
}
