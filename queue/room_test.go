package queue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// takeSome defers all that arrives until the time, and returns how many jobs that were.
func deferAll(t *testing.T, jobs *Jobs, n int, at time.Time) {
	t.Helper()
	var all []Deferral
	for _, l := range take(t, jobs, n) {
		all = append(all, Deferral{Lease: l, At: at, History: l.History})
	}
	if err := Defer(deadline(t), all); err != nil {
		t.Fatal(err)
	}
}

// What waits counts against the project's quota, wherever it waits; other projects have their own.
func TestDeferringGoesRoundNoQuota(t *testing.T) {
	t.Parallel()
	q, _ := newQueueAt(t)
	const quota = 5
	if _, err := q.Init(t.Context(), InitConfig{MaxQueued: quota}); err != nil {
		t.Fatal(err)
	}
	jobs := openJobs(t, q, JobsConfig{})
	at := time.Now().Add(6 * time.Second)
	pub := q.Publisher(PublisherConfig{RetryFor: -1})
	send := func(project string, n int) (err error) {
		for i := range n {
			_, err = pub.Publish(t.Context(), Normal, Job{ID: fmt.Sprint(time.Now().UnixNano(), "-", i), ProjectID: project, Message: "m", WovenIDs: []string{"w"}})
		}
		return err
	}
	for range 2 { // first they wait there, then in their stream
		if err := send(projectA, quota); err != nil {
			t.Fatal(err)
		}
		deferAll(t, jobs, quota, at)
	}
	if err := send(projectA, 1); !errors.Is(err, ErrFull) {
		t.Errorf("a project with %d jobs waiting, of %d, published another one: %v", 2*quota, quota, err)
	}
	if err := send(projectB, quota); err != nil {
		t.Fatal(err)
	}
	deferAll(t, jobs, quota, at)
	if st := statusOf(t, q); st.Scheduled != 2*quota || jobs.Delayed() != quota || jobs.Held() != 0 || time.Now().After(at) {
		t.Errorf("%d delayed, %d held, status %+v", jobs.Delayed(), jobs.Held(), st)
	}
	take(t, jobs, 3*quota) // all come when it is time
	if early := time.Until(at); early > 0 {
		t.Errorf("came %v too early", early)
	}
}

// What waits takes no more bytes than what is queued may, whatever the number of projects; of what is known
// something, everything is kept.
func TestDeferringIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	q, _ := newQueueAt(t)
	if _, err := q.Init(t.Context(), InitConfig{MaxBytes: 96 << 10}); err != nil {
		t.Fatal(err)
	}
	jobs := openJobs(t, q, JobsConfig{})
	at := time.Now().Add(time.Hour)
	pub := q.Publisher(PublisherConfig{RetryFor: -1})
	var last Job
	sent := 0
	for i := range 40 {
		last = Job{ID: fmt.Sprint("j", i), ProjectID: fmt.Sprintf("%08x-0000-4000-8000-000000000000", i), Message: strings.Repeat("x", 16000), WovenIDs: []string{"w"}}
		if _, err := pub.Publish(t.Context(), Bulk, last); errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		sent++
		deferAll(t, jobs, 1, at)
	}
	later, err := q.Backlog(t.Context(), LaterStream)
	if err != nil {
		t.Fatal(err)
	}
	if later.Stored < 14 || later.Stored > 18 || sent == 40 || jobs.Delayed() != sent-int(later.Stored) {
		t.Errorf("of %d jobs of 16 KB %d wait in %s, and %d in their stream; 288 KiB are allowed", sent, later.Stored, LaterStream, jobs.Delayed())
	}
	publish(t, q, Urgent, job("tried", strings.Repeat("x", 16000), "w"))
	l := take(t, jobs, 1)[0]
	l.Attempts = 1
	if err := Defer(t.Context(), []Deferral{{Lease: l, At: at, History: l.History}}); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, q, JobStream(Urgent)); n != 0 || jobs.Delayed() != sent-int(later.Stored) {
		t.Errorf("a job that was tried waits in its stream")
	}
}

// Only a job of which nothing is known that does not stand in its stream may wait there.
func TestUntouched(t *testing.T) {
	fresh := func() *Lease {
		return NewLease(&Lease{Stream: JobStream(Normal), Job: job("one", "m", "a", "b")}, nil)
	}
	if l := fresh(); !l.untouched(Deferral{Lease: l}) {
		t.Error("a job that has just come is touched")
	}
	for name, touch := range map[string]func(*Lease, *Deferral){
		"came due":             func(l *Lease, _ *Deferral) { l.Stream = LaterStream },
		"deferred before":      func(l *Lease, _ *Deferral) { l.Deferrals = 1 },
		"some were split off":  func(l *Lease, _ *Deferral) { l.Job.WovenIDs = l.Job.WovenIDs[:1] },
		"invalid":              func(l *Lease, _ *Deferral) { l.Invalid = ErrInvalid },
		"a letter":             func(l *Lease, _ *Deferral) { l.Letter = &DeadLetter{} },
		"some are told":        func(_ *Lease, d *Deferral) { d.WovenIDs = []string{"a"} },
		"letters not buried":   func(_ *Lease, d *Deferral) { d.Letters = []DeadLetter{{}} },
		"called for":           func(_ *Lease, d *Deferral) { d.History.Attempts = 1 },
		"replayed":             func(_ *Lease, d *Deferral) { d.History.Replays = 1 },
		"called for uncertain": func(_ *Lease, d *Deferral) { d.History.Ambiguous = []Tried{{1, 1}} },
	} {
		l := fresh()
		d := Deferral{Lease: l}
		if touch(l, &d); l.untouched(d) {
			t.Errorf("%s: nothing is known", name)
		}
	}
}

// The quota of a project bounds what of its jobs is added to NOTIFY_LATER, also between two looks at that.
func TestRoomIsCountedBetweenLooks(t *testing.T) {
	l := NewLease(&Lease{Stream: JobStream(Normal), Job: job("one", "m", "a")}, nil)
	j := &Jobs{q: &Queue{}}
	j.room.looked, j.room.messages = time.Now().Add(time.Hour), 10
	j.room.quota, j.room.counted, j.room.waiting = map[string]int64{l.Stream: 3}, map[string]int64{projectA: 1}, map[string]int64{}
	for i, want := range []int{inLater, inLater, inStream} {
		if where, err := j.roomFor(t.Context(), Deferral{Lease: l}); where != want || err != nil {
			t.Errorf("job %d waits in %d, want %d; %v", i, where, want, err)
		}
	}
}

// After the server's storage was full nothing is added for a while but what replaces a schedule: a job that a worker
// deferred that died before its ack would come twice if it waited in its stream as well.
func TestDeferringStopsWhereStorageWasFull(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a"))
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	l.Redelivered = true
	for _, want := range []int{inLater, inStream, inLater} {
		if where, err := jobs.roomFor(t.Context(), Deferral{Lease: l}); where != want || err != nil {
			t.Errorf("waits in %d, want %d; %v", where, want, err)
		}
		jobs.room.filled()
		if want == inStream {
			if err := jobs.publishDeferrals(t.Context(), []Deferral{{Lease: l, At: time.Now().Add(time.Hour)}})[0]; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// NOTIFY_LATER drops its oldest jobs when it is full. So what is known of a job stays with the worker before that.
func TestWhatIsKnownIsNotDroppedWhereItWaits(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, LaterStream, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 })
	jobs := jobsWithoutCheck(t, q, JobsConfig{})
	const all = 100
	for i := range all {
		publish(t, q, Bulk, job(fmt.Sprint("j", i), strings.Repeat("x", 16000), "w"))
	}
	full := 0
	for _, l := range take(t, jobs, all) {
		l.Ambiguous = []Tried{{Recipients: 1, Calls: 1}} // which its stream does not know
		switch err := Defer(deadline(t), []Deferral{{Lease: l, At: time.Now().Add(time.Hour), History: l.History}}); {
		case errors.Is(err, ErrFull):
			full++
		case err != nil:
			t.Fatal(err)
		}
	}
	later, left := stored(t, q, LaterStream), stored(t, q, JobStream(Bulk))
	if later+left != all || left != full || later < all/3 {
		t.Errorf("of %d jobs %d wait, %d are left where they were, for %d there was no room", all, later, left, full)
	}
}

// A job that was given back waits until it is to be delivered. One whose lease lapsed is published, for its stream
// would not hear of it; and one that ended is left alone.
func TestWhereDeferralsGo(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for _, id := range []string{"plain", "lapsed", "ended", "later"} {
		publish(t, q, Normal, job(id, "m", "a"))
	}
	jobs := openJobs(t, q, JobsConfig{})
	at, later := q.Now().Add(time.Minute), q.Now().Add(time.Hour)
	var all []Deferral
	for _, l := range take(t, jobs, 4) {
		switch l.Job.ID {
		case "lapsed":
			l.LapseAt(q.Now())
		case "ended":
			jobs.forget(l)
		case "later":
			l.Job.DeliverAt = later
		}
		all = append(all, Deferral{Lease: l, At: at, History: l.History})
	}
	if _, err := jobs.roomFor(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	jobs.room.filled()
	p, err := jobs.within(t.Context(), all)
	if err != nil || len(p.now) != 1 || len(p.back) != 2 || len(p.stay) != 0 {
		t.Fatalf("%d are published, %d given back, %d stay; %v", len(p.now), len(p.back), len(p.stay), err)
	}
	if p.now[0].Lease.Job.ID != "lapsed" || !p.back[0].At.Equal(at) || !p.back[1].At.Equal(later) {
		t.Errorf("published %s; given back until %v and %v", p.now[0].Lease.Job.ID, p.back[0].At, p.back[1].At)
	}
}

// Where more than half of what all workers may hold is held, no more is given back.
func TestCrowdedStreams(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	cfg := consumerConfig(JobStream(Normal))
	cfg.MaxAckPending = 4
	if _, err := q.js.UpdateConsumer(t.Context(), JobStream(Normal), cfg); err != nil {
		t.Fatal(err)
	}
	jobs := jobsWithoutCheck(t, q, JobsConfig{})
	for n := 1; n <= 3; n++ {
		publish(t, q, Normal, job("one", fmt.Sprint("m", n), "a"))
		l := take(t, jobs, 1)[0]
		jobs.room.looked = time.Time{}
		if n == 3 {
			if _, err := jobs.roomFor(t.Context(), Deferral{Lease: l}); err != nil {
				t.Fatal(err)
			}
			jobs.room.filled()
		}
		where, err := jobs.roomFor(t.Context(), Deferral{Lease: l})
		if want := []int{inLater, inLater, nowhere}[n-1]; where != want || err != nil || jobs.room.crowded[l.Stream] != (n == 3) {
			t.Errorf("%d are held: waits in %d, want %d; %v", n, where, want, err)
		}
	}
}

// What waits in its stream comes back after five minutes at most: by then there may be room, or another worker.
func TestNothingIsGivenBackForLong(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a"))
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	said := make(chan string, 1)
	answeredBy(t, q, l, func(msg *nats.Msg) { said <- string(msg.Data) })
	if err := jobs.giveBack([]Deferral{{Lease: l, At: q.Now().Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-said:
		if want := fmt.Sprintf(`-NAK {"delay": %d}`, mostDelay); text != want || jobs.Held() != 0 || jobs.Delayed() != 1 {
			t.Errorf("said %s, want %s; %d are held, %d delayed", text, want, jobs.Held(), jobs.Delayed())
		}
	case <-deadline(t).Done():
		t.Error("nothing was said")
	}
}
