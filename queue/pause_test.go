package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// notedPull is a pull that brings nothing and notes when it is drained.
type notedPull struct{ drained []time.Time }

func (p *notedPull) Drain()                  { p.drained = append(p.drained, time.Now()) }
func (p *notedPull) Stop()                   {}
func (p *notedPull) Closed() <-chan struct{} { return nil }

// delivery is a job as the server delivers it.
type delivery struct {
	jetstream.Msg // for what is not asked here
	seq           uint64
}

func (d delivery) Data() []byte         { return []byte(with("message", `"m"`)) }
func (d delivery) Subject() string      { return JobSubject(Normal, projectA) }
func (d delivery) Reply() string        { return "reply" }
func (d delivery) Headers() nats.Header { return nil }
func (d delivery) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: d.seq}, NumDelivered: 1}, nil
}

// inPause runs a test of a source that is pulled from, in time of its own.
func inPause(t *testing.T, test func(t *testing.T, j *Jobs, s *source, p *notedPull)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &notedPull{}
		j := &Jobs{cfg: JobsConfig{Window: 100, WindowBytes: 1 << 20, OnError: func(err error) { t.Error(err) }}, ready: make(chan struct{}, 1)}
		s := &source{stream: JobStream(Normal), ackWait: ackWait, held: map[uint64]*Lease{}, freed: make(chan struct{}, 1), pull: p}
		test(t, j, s, p)
	})
}

// fill lets jobs arrive until the source is full.
func fill(j *Jobs, s *source) {
	for seq := uint64(1); !s.full; seq++ {
		j.arrive(s, delivery{seq: seq})
	}
}

// free ends so many leases after a time.
func free(j *Jobs, s *source, n int, after time.Duration) {
	leases := slices.Collect(maps.Values(s.held))[:n]
	time.AfterFunc(after, func() { j.forget(leases...) })
}

// The intake pauses by blocking, for a second in all; only then is the pull drained, and what it
// brings after that is taken in.
func TestIntakeBlocksForASecondInAll(t *testing.T) {
	inPause(t, func(t *testing.T, j *Jobs, s *source, p *notedPull) {
		blocks := func(want time.Duration, drains int) {
			t.Helper()
			began := time.Now()
			j.hold(t.Context(), s)
			if took := time.Since(began); took != want || len(p.drained) != drains {
				t.Errorf("blocked for %v and drained %d times, want %v and %d", took, len(p.drained), want, drains)
			}
		}
		blocks(0, 0)                           // there is room
		for _, enough := range []int{100, 7} { // a sixteenth of the window
			fill(j, s)
			free(j, s, enough, 400*time.Millisecond)
			blocks(400*time.Millisecond, 0)
		}
		fill(j, s)
		free(j, s, 6, 100*time.Millisecond) // too few
		signal(s.freed)                     // left over from before
		blocks(200*time.Millisecond, 1)
		blocks(0, 1)
		j.arrive(s, delivery{seq: 1000})
		blocks(0, 1)
		if n := len(s.held); n != 95 {
			t.Errorf("%d leases are held, want those of the window without six, and one that was on its way", n)
		}
		s.drained, s.pauses = false, pauses{} // as with a new pull
		blocks(time.Second, 2)
	})
}

// Who is stopped does not wait for room, and nobody waits before the pull is known.
func TestIntakeDoesNotBlockForNothing(t *testing.T) {
	inPause(t, func(t *testing.T, j *Jobs, s *source, p *notedPull) {
		fill(j, s)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		j.hold(ctx, s)
		j.hold(ctx, s)
		if took := time.Since(began); took != 300*time.Millisecond || len(p.drained) > 0 {
			t.Errorf("blocked for %v when stopped after 300ms, drained %d times", took, len(p.drained))
		}
		s.pull = nil
		j.hold(t.Context(), s)
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("blocked for %v more without a pull", took-300*time.Millisecond)
		}
	})
}

// A job that waited in the client while the intake was blocked was delivered before it arrived: its
// lease runs since then. After two pulls' worth of jobs none can have waited behind that pause.
func TestLeaseRunsWhileItsJobWaitsBehindABlockedIntake(t *testing.T) {
	inPause(t, func(t *testing.T, j *Jobs, s *source, _ *notedPull) {
		seq := uint64(0)
		arrive := func() (left time.Duration) {
			seq++
			j.arrive(s, delivery{seq: seq})
			l := s.held[seq]
			for left = ackWait + time.Second; left > 0 && l.Lapsed(time.Now().Add(left-1)); left -= 100 * time.Millisecond {
			}
			j.forget(l)
			return left
		}
		if left := arrive(); left != ackWait {
			t.Errorf("a job that did not wait is leased for %v, want %v", left, ackWait)
		}
		s.full = true
		time.AfterFunc(700*time.Millisecond, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			s.full = false
			signal(s.freed)
		})
		j.hold(t.Context(), s)
		for range pullMessages {
			if left := arrive(); left != ackWait-700*time.Millisecond {
				t.Fatalf("job %d, which may have waited for 700ms, is leased for %v, want %v", seq, left, ackWait-700*time.Millisecond)
			}
		}
		for range 2 * pullMessages {
			arrive()
		}
		if left := arrive(); left != ackWait {
			t.Errorf("long after the pause a job is leased for %v, want %v", left, ackWait)
		}
	})
}

// normalSource is what jobs holds of the stream of normal jobs.
func normalSource(t *testing.T, j *Jobs) *source {
	t.Helper()
	for _, s := range j.sources {
		if s.stream == JobStream(Normal) {
			return s
		}
	}
	t.Fatal("there is no such source")
	return nil
}

// publishMany stores jobs named j0, j1 and so on.
func publishMany(t *testing.T, q *Queue, from, to int) {
	t.Helper()
	err := q.Publisher(PublisherConfig{}).PublishAll(t.Context(), func(yield func(Priority, Job) bool) {
		for i := from; i < to; i++ {
			if !yield(Normal, job(fmt.Sprint("j", i), "m", "w")) {
				return
			}
		}
	}, func(_ Receipt, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// While the window stays full the intake stands still, for as long as it takes; when it is free again
// all the rest comes, and nothing twice.
func TestFullWindowPausesTheIntake(t *testing.T) {
	const n, window = 1000, 100
	q := newQueue(t)
	publishMany(t, q, 0, n)
	jobs := openJobs(t, q, JobsConfig{Window: window})
	normal := normalSource(t, jobs)
	bounded := func() {
		t.Helper()
		// What one pull asked for may be on its way when the window is full.
		if held := jobs.Held(); held > 2*window {
			t.Fatalf("%d leases are held with a window of %d", held, window)
		}
	}
	seen := map[string]bool{}
	next := func() (first *Lease) {
		t.Helper()
		leases, err := jobs.Next(deadline(t))
		if err != nil {
			t.Fatalf("after %d of %d jobs: %v", len(seen), n, err)
		}
		bounded()
		for _, l := range leases {
			if seen[l.Job.ID] || l.Redelivered {
				t.Errorf("%s was delivered twice", l.Job.ID)
			}
			seen[l.Job.ID] = true
		}
		if err := Ack(deadline(t), leases); err != nil {
			t.Fatal(err)
		}
		return leases[0]
	}
	for round := range 2 {
		for len(seen) < (1+2*round)*window {
			next()
		}
		var pull jetstream.ConsumeContext
		eventually(t, "the pull is drained", func() bool {
			bounded()
			jobs.mu.Lock()
			defer jobs.mu.Unlock()
			pull = normal.pull
			return normal.drained && normal.full
		})
		select {
		case <-pull.Closed():
		case <-deadline(t).Done():
			t.Fatal("the drain does not end")
		}
		if held := jobs.Held(); held < window*15/16 || held > 2*window {
			t.Errorf("%d leases are held by a full window of %d", held, window)
		}
		freed := time.Now()
		next() // which is all that came
		// The pauses of the last pull say nothing of what the next one brings.
		if l := next(); l.since.Before(freed) {
			t.Errorf("the lease on %s runs since %v before it can have been delivered", l.Job.ID, freed.Sub(l.since))
		}
	}
	for len(seen) < n {
		next()
	}
	if held, left := jobs.Held(), stored(t, q, JobStream(Normal)); held != 0 || left != 0 {
		t.Errorf("%d leases are still held and %d jobs stored", held, left)
	}
}

// Close does not wait for room, and gives back whatever was not handed out, also what waited in the
// client.
func TestCloseWhileTheWindowIsFull(t *testing.T) {
	const n, window, handed = 500, 100, 10
	q := newQueue(t)
	publishMany(t, q, 0, handed)
	first := openJobs(t, q, JobsConfig{Window: window})
	mine := take(t, first, handed)
	publishMany(t, q, handed, n)
	eventually(t, "the window is full", func() bool { return first.Held() >= window })
	closed := make(chan struct{})
	go func() { first.Close(); close(closed) }()
	select {
	case <-closed:
	case <-deadline(t).Done():
		t.Fatal("Close hangs")
	}
	if held := first.Held(); held != handed {
		t.Errorf("%d leases are held after Close, want the %d that were handed out", held, handed)
	}
	begun := time.Now()
	others := take(t, openJobs(t, q, JobsConfig{}), n-handed)
	if waited := time.Since(begun); waited > ackWait/3 {
		t.Errorf("the others came after %v only", waited)
	}
	seen := map[string]bool{}
	for _, l := range append(mine, others...) {
		if seen[l.Job.ID] {
			t.Errorf("%s is leased twice", l.Job.ID)
		}
		seen[l.Job.ID] = true
	}
	if err := Ack(deadline(t), mine); err != nil { // what was handed out is still theirs
		t.Error(err)
	}
	if err := Ack(deadline(t), others); err != nil {
		t.Error(err)
	}
	if left := stored(t, q, JobStream(Normal)); left != 0 {
		t.Errorf("%d jobs are still stored", left)
	}
}
