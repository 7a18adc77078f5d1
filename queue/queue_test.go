package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue/broker"
)

const (
	projectA = "0f8fad5b-d9cb-469f-a165-70867728950e"
	projectB = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
)

// newQueue gives a queue on a server of its own, with all streams.
func newQueue(t *testing.T) *Queue {
	t.Helper()
	q, _ := newQueueAt(t)
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	return q
}

// newUnboundedQueue is one for a benchmark, whose jobs would fill a stream of the usual size.
func newUnboundedQueue(b *testing.B) *Queue {
	b.Helper()
	q, _ := newQueueAt(b)
	if _, err := q.Init(b.Context(), InitConfig{MaxBytes: -1}); err != nil {
		b.Fatal(err)
	}
	return q
}

func newQueueAt(t testing.TB) (*Queue, *broker.Server) {
	t.Helper()
	b := newServer(t, broker.Config{Dir: t.TempDir()})
	return connect(t, b), b
}

func newServer(t testing.TB, cfg broker.Config) *broker.Server {
	t.Helper()
	b, err := StartBroker(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

func connect(t testing.TB, b *broker.Server) *Queue {
	t.Helper()
	q, err := Connect(t.Context(), Config{URL: b.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// deadline bounds what should happen at once; only a failing test waits for it.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func openJobs(t *testing.T, q *Queue, cfg JobsConfig) *Jobs {
	t.Helper()
	jobs, err := q.Jobs(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(jobs.Close)
	return jobs
}

// take waits for n leases.
func take(t *testing.T, j *Jobs, n int) []*Lease {
	t.Helper()
	var all []*Lease
	ctx := deadline(t)
	for len(all) < n {
		leases, err := j.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for lease %d of %d: %v", len(all)+1, n, err)
		}
		all = append(all, leases...)
	}
	if len(all) > n {
		t.Fatalf("%d leases arrived, want %d", len(all), n)
	}
	return all
}

func publish(t *testing.T, q *Queue, p Priority, jobs ...Job) {
	t.Helper()
	pub := q.Publisher(PublisherConfig{})
	for _, job := range jobs {
		if _, err := pub.Publish(t.Context(), p, job); err != nil {
			t.Fatal(err)
		}
	}
}

func job(id, message string, ids ...string) Job {
	return Job{ID: id, ProjectID: projectA, Message: message, WovenIDs: ids}
}

// stored counts the messages of a stream.
func stored(t *testing.T, q *Queue, stream string) int {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

func letters(t *testing.T, q *Queue, f Filter) []DeadLetter {
	t.Helper()
	var all []DeadLetter
	if err := q.DeadLetters(deadline(t), f, func(l DeadLetter) bool { all = append(all, l); return true }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPublishLeaseAck(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Urgent, job("u1", "fire", "a"))
	publish(t, q, Normal, job("n1", "coffee", "a", "b"))
	publish(t, q, Bulk, job("b1", "festival", "c"))
	jobs := openJobs(t, q, JobsConfig{})
	leases := take(t, jobs, 3)
	seen := map[string]Priority{}
	for _, l := range leases {
		seen[l.Job.ID] = l.Priority
		if l.Invalid != nil || l.Attempts != 0 || time.Since(l.PublishedAt) > time.Minute {
			t.Errorf("lease %+v", l)
		}
	}
	if seen["u1"] != Urgent || seen["n1"] != Normal || seen["b1"] != Bulk {
		t.Errorf("priorities %v", seen)
	}
	if err := Ack(t.Context(), leases); err != nil {
		t.Fatal(err)
	}
	for _, p := range Priorities() {
		if n := stored(t, q, JobStream(p)); n != 0 {
			t.Errorf("%d jobs left in %s after a confirmed ack", n, JobStream(p))
		}
	}
	if jobs.Held() != 0 {
		t.Errorf("%d leases still held", jobs.Held())
	}
}

// Acks are sent plainly and only the last is confirmed; the confirmation must cover all of them.
func TestAckOfManyIsConfirmedByTheLast(t *testing.T) {
	q := newQueue(t)
	const n = 3000
	publishMany(t, q, 0, n)
	leases := take(t, openJobs(t, q, JobsConfig{}), n)
	if err := Ack(t.Context(), leases); err != nil {
		t.Fatal(err)
	}
	if left := stored(t, q, "NOTIFY_NORMAL"); left != 0 {
		t.Fatalf("%d of %d jobs left when the last ack was confirmed", left, n)
	}
}

// Rule 2: a lease ends exactly once.
func TestLeaseEndsOnce(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "w"), job("two", "m", "w"))
	leases := take(t, openJobs(t, q, JobsConfig{}), 2)
	if err := Ack(t.Context(), leases[:1]); err != nil {
		t.Fatal(err)
	}
	leases[0].Release()
	if err := Defer(t.Context(), []Deferral{{Lease: leases[0], At: time.Now()}}); !errors.Is(err, ErrEnded) {
		t.Errorf("deferred an acked lease: %v", err)
	}
	if err := leases[0].Split(t.Context(), 1); !errors.Is(err, ErrEnded) {
		t.Errorf("split an acked lease: %v", err)
	}
	leases[1].Release()
	if err := Ack(t.Context(), leases[1:]); !errors.Is(err, ErrEnded) {
		t.Errorf("acked a released lease: %v", err)
	}
	if n := stored(t, q, LaterStream); n != 0 {
		t.Errorf("%d messages in %s", n, LaterStream)
	}
	if n := stored(t, q, "NOTIFY_NORMAL"); n != 1 {
		t.Errorf("%d jobs stored, want the released one", n)
	}
}

func TestReleasedJobComesBackAtOnce(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "w"))
	jobs := openJobs(t, q, JobsConfig{})
	take(t, jobs, 1)[0].Release()
	if l := take(t, jobs, 1)[0]; l.Job.ID != "one" {
		t.Errorf("got %q", l.Job.ID)
	}
}

// What was taken in but not handed out is given back when a worker stops.
func TestCloseReleasesWhatWasNotHandedOut(t *testing.T) {
	q := newQueue(t)
	for i := range 50 {
		publish(t, q, Normal, job(fmt.Sprint("j", i), "m", "w"))
	}
	first, err := q.Jobs(t.Context(), JobsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for first.Held() < 50 {
		time.Sleep(time.Millisecond) // until the jobs have come over the network
	}
	first.Close()
	begun := time.Now()
	take(t, openJobs(t, q, JobsConfig{}), 50)
	if waited := time.Since(begun); waited > ackWait/3 {
		t.Errorf("the jobs came back after %v only", waited)
	}
}

// Rule 4: a job is delivered again however often it was given back, and a renewed lease is not.
func TestRenewalAndUnlimitedDelivery(t *testing.T) {
	q := newQueue(t)
	impatient := consumerConfig("NOTIFY_NORMAL")
	impatient.AckWait = 600 * time.Millisecond
	if _, err := q.js.UpdateConsumer(t.Context(), "NOTIFY_NORMAL", impatient); err != nil {
		t.Fatal(err)
	}
	// Check refuses such a short wait, so the leases are taken as Jobs would.
	ctx, stop := context.WithCancel(t.Context())
	one, err := q.openJobs(ctx, JobsConfig{MaxHold: 1500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(one.Close)
	publish(t, q, Normal, job("one", "m", "w"))
	first := take(t, one, 1)[0]
	stop() // it takes in nothing more, and goes on renewing
	jobs := jobsWithoutCheck(t, q, JobsConfig{MaxHold: 1500 * time.Millisecond})
	begun := time.Now()
	second := take(t, jobs, 1)[0]
	if kept := time.Since(begun); kept < 1200*time.Millisecond {
		t.Errorf("came again after %v although the lease was renewed", kept)
	}
	if !first.Lapsed(time.Now()) {
		t.Error("the first lease does not know that it lapsed")
	}
	for range 30 {
		second.Release()
		second = take(t, jobs, 1)[0]
	}
	if second.Job.ID != "one" {
		t.Errorf("got %q", second.Job.ID)
	}
	first.Release() // late, must not take the job from its holder
	if err := Ack(t.Context(), []*Lease{second}); err != nil {
		t.Fatal(err)
	}
}

// A lease is renewed for as long as its known outcome cannot be recorded, and a job that comes back
// to its very holder all the same is not leased twice.
func TestKeptLeaseIsNotLeasedAgain(t *testing.T) {
	q := newQueue(t)
	impatient := consumerConfig("NOTIFY_NORMAL")
	impatient.AckWait = 1500 * time.Millisecond
	if _, err := q.js.UpdateConsumer(t.Context(), "NOTIFY_NORMAL", impatient); err != nil {
		t.Fatal(err)
	}
	jobs := jobsWithoutCheck(t, q, JobsConfig{MaxHold: 700 * time.Millisecond})
	publish(t, q, Normal, job("kept", "m", "w"), job("lapsed", "m", "w"))
	leases := take(t, jobs, 2)
	leases[0].Keep()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if again, err := jobs.Next(ctx); err == nil {
		t.Errorf("%s was leased again to its holder", again[0].Origin())
	}
	if leases[0].Lapsed(time.Now()) || leases[0].address() != leases[0].reply {
		t.Error("the kept lease lapsed")
	}
	if leases[1].address() == leases[1].reply {
		t.Error("the other lease was renewed as well")
	}
	if jobs.Held() != 2 {
		t.Errorf("%d leases held, want 2", jobs.Held())
	}
	if err := Ack(deadline(t), leases); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, q, "NOTIFY_NORMAL"); n != 0 {
		t.Errorf("%d jobs left", n)
	}
}

func jobsWithoutCheck(t *testing.T, q *Queue, cfg JobsConfig) *Jobs {
	t.Helper()
	jobs, err := q.openJobs(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(jobs.Close)
	return jobs
}

func TestWindowBoundsWhatIsHeld(t *testing.T) {
	q := newQueue(t)
	const n = 400
	for i := range n {
		publish(t, q, Normal, job(fmt.Sprint("j", i), "m", "w"))
	}
	jobs := openJobs(t, q, JobsConfig{Window: 20})
	got := 0
	for got < n {
		leases, err := jobs.Next(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		// A pull may be on its way when the window fills.
		if held := jobs.Held(); held > 40 {
			t.Fatalf("%d leases held with a window of 20", held)
		}
		got += len(leases)
		if err := Ack(t.Context(), leases); err != nil {
			t.Fatal(err)
		}
	}
	if got != n {
		t.Errorf("%d deliveries of %d jobs", got, n)
	}
}

func TestDeferComesBackInTimeWithItsMemory(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Urgent, job("one", "m ☕", "w.1", "w 2"))
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	at := time.Now().Add(1200 * time.Millisecond)
	if err := Defer(t.Context(), []Deferral{{Lease: l, At: at, History: History{Attempts: 3, LastError: "503 for\nnow", PublishedAt: l.PublishedAt}}}); err != nil {
		t.Fatal(err)
	}
	if st, err := q.Status(t.Context(), time.Millisecond); err != nil || st.Scheduled != 1 || st.Queued != 0 || st.Held != 0 {
		t.Errorf("status while waiting %+v, %v", st, err)
	}
	back := take(t, jobs, 1)[0]
	if early := time.Until(at); early > 0 {
		t.Errorf("came back %v too early", early)
	}
	if late := time.Since(at); late > 2*time.Second {
		t.Errorf("came back %v late", late)
	}
	if back.Job.ID != "one" || back.Job.Message != "m ☕" || strings.Join(back.Job.WovenIDs, "|") != "w.1|w 2" ||
		back.Priority != Urgent || back.Attempts != 3 || back.LastError != "503 for now" || !back.PublishedAt.Equal(l.PublishedAt) {
		t.Errorf("came back as %+v", back)
	}
	// Again: what came due can be deferred too.
	if err := Defer(t.Context(), []Deferral{{Lease: back, At: time.Now(), History: History{Attempts: 4, PublishedAt: l.PublishedAt}}}); err != nil {
		t.Fatal(err)
	}
	if again := take(t, jobs, 1)[0]; again.Attempts != 4 || !again.PublishedAt.Equal(l.PublishedAt) {
		t.Errorf("came back the second time as %+v", again)
	}
}

func TestSplitTwiceRepeatsNothing(t *testing.T) {
	q := newQueue(t)
	var ids []string
	for i := range 25 {
		ids = append(ids, fmt.Sprint("w", i))
	}
	publish(t, q, Normal, Job{ID: "big", ProjectID: projectA, Message: "m", WovenIDs: ids})
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	// As after a crash: what exceeds the limit was published already.
	for range 2 {
		l.Job.WovenIDs = ids
		if err := l.Split(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	parts := append([]*Lease{l}, take(t, jobs, 1)...)
	if err := parts[1].Split(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	parts = append(parts, take(t, jobs, 1)...)
	if err := parts[2].Split(t.Context(), 10); err != nil { // which is not too large
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, part := range parts {
		if part.Job.ID != "big" || len(part.Job.WovenIDs) > 10 || !part.PublishedAt.Equal(l.PublishedAt) {
			t.Errorf("part %+v", part)
		}
		for _, id := range part.Job.WovenIDs {
			seen[id]++
		}
	}
	for _, id := range ids {
		if seen[id] != 1 {
			t.Errorf("recipient %s stands in %d parts", id, seen[id])
		}
	}
	if err := Ack(t.Context(), parts); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, q, "NOTIFY_NORMAL") + stored(t, q, LaterStream); n != 0 {
		t.Errorf("%d jobs are still stored", n)
	}
}
