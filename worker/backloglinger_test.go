package worker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// stream is a core into which alike jobs stream from a long backlog, so that batches wait for
// company. Its time is passed in, as everywhere.
type stream struct {
	*core
	now time.Time
	n   int // jobs so far
}

func newStream(cfg Config) *stream {
	return &stream{core: newCore(cfg.withDefaults()), now: time.Now()}
}

// arrive adds jobs with the same text, each for somebody else.
func (b *stream) arrive(p queue.Priority, project, message string, jobs int) {
	for range jobs {
		b.n++
		b.lease(p, text(project, message, fmt.Sprint("w-", b.n)), 1000)
	}
}

func (b *stream) lease(p queue.Priority, job queue.Job, behind uint64) {
	b.add(b.now, []*queue.Lease{queue.NewLease(&queue.Lease{Job: job, Priority: p, History: queue.History{PublishedAt: b.now}, Behind: behind}, nil)})
}

func (b *stream) pass(ms int) { b.now = b.now.Add(time.Duration(ms) * time.Millisecond) }

// granted are the texts of those batches that may go now, sorted.
func (b *stream) granted() []string {
	texts := []string{}
	for next := b.nextCall(b.now); next != nil; next = b.nextCall(b.now) {
		texts = append(texts, next.key.message)
	}
	slices.Sort(texts)
	return texts
}

// When those that take jobs fill three quarters of the window the oldest go, whatever their project
// and priority, and no more of them than must.
func TestOldestIsFlushed(t *testing.T) {
	b := newStream(Config{Window: 100, Concurrency: 1600}) // nobody waits for a slot
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
		if got := b.schedule.backlog.gathering.jobs; got != step.left {
			t.Fatalf("with %d more %d jobs gather, want %d", step.jobs, got, step.left)
		}
	}
}

// A batch that was pressed and cannot go yet still takes jobs; they count no longer, and press
// nobody else.
func TestFlushedBatchTakesMoreJobs(t *testing.T) {
	b := newStream(Config{Window: 40})
	b.arrive(queue.Normal, "p", "first", 16)
	b.arrive(queue.Normal, "p", "then", 8)
	b.arrive(queue.Normal, "p", "second", 15)
	b.arrive(queue.Normal, "p", "then", 8)
	b.schedule.flushOldest(b.now) // two at once
	open := func(message string) *batch {
		x, _, _ := b.schedule.open.find(key{queue.Normal, "p", message})
		return x
	}
	first, then, second := open("first"), open("then"), open("second")
	if !first.mustFlush || !then.mustFlush || second.mustFlush || b.schedule.backlog.gathering.jobs != 15 {
		t.Fatalf("pressed: %v, %v, %v, %d jobs gather; want true, true, false, 15", first.mustFlush, then.mustFlush, second.mustFlush, b.schedule.backlog.gathering.jobs)
	}
	b.arrive(queue.Normal, "p", "first", 20)
	b.schedule.flushOldest(b.now)
	if first.jobs != 36 || second.mustFlush || b.schedule.backlog.gathering.jobs != 15 {
		t.Errorf("%d jobs in the pressed one, the other pressed: %v, %d jobs gather; want 36, false, 15", first.jobs, second.mustFlush, b.schedule.backlog.gathering.jobs)
	}
	b.pass(30)
	if got := b.granted(); !slices.Equal(got, []string{"first", "then"}) || b.schedule.backlog.gathering.jobs != 15 {
		t.Errorf("%q went and %d jobs gather, want the first two, and 15", got, b.schedule.backlog.gathering.jobs)
	}
}

// What is full goes although something of the same project fills since before.
func TestFullBatchDoesNotWaitForAFillingOne(t *testing.T) {
	b := newStream(Config{MaxRecipients: 10})
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
	if got := b.granted(); !slices.Equal(got, []string{"twice"}) || b.schedule.open.n != 2 {
		t.Errorf("%q went and %d still fill, want the first of two, and two", got, b.schedule.open.n)
	}
	b.arrive(queue.Normal, "p", "full", 5000)
	if n := len(b.schedule.backlog.order); n > 100 {
		t.Errorf("of 500 full ones %d are remembered because of one that fills since before", n)
	}
}

// While acks are under way, which make room, the rest of a backlog is expected still; where there was
// none, none is.
func TestBacklogIsExpectedWhileRoomIsMade(t *testing.T) {
	b := newStream(Config{})
	b.arrive(queue.Normal, "p", "of a backlog", 2)
	b.lease(queue.Urgent, text("p", "alone", "a"), 0)
	b.lease(queue.Urgent, text("p", "alone", "b"), 0)
	for i, want := range [][]string{{"alone"}, {}, {}, {"of a backlog"}} { // it has waited for 200ms then
		b.pass(51)
		b.schedule.backlog.resume(b.now.Add(100 * time.Millisecond))
		if got := b.granted(); !slices.Equal(got, want) {
			t.Errorf("in step %d %q went, want %q", i, got, want)
		}
	}
}

// When the last job of a backlog has come, all that waited for company go at once, of other projects
// as well; not those of another priority, nor what has not lingered.
func TestEndOfBacklogLetsAllGo(t *testing.T) {
	b := newStream(Config{})
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
