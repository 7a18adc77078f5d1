package queue

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatrelay/chatrelay/queue/broker"
)

// anew removes the stream of normal jobs with its consumer, and makes it once more.
func anew(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.js.DeleteStream(t.Context(), JobStream(Normal)); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
}

// Jobs of a stream that was made anew have the numbers of earlier ones. Those that are held are no reason to
// take them for done, and their end does not end the new ones.
func TestAcksOfAnEarlierStreamEndNothingOfTheNewOne(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	const n = 200
	publishMany(t, q, 0, n)
	jobs := openJobs(t, q, JobsConfig{})
	old := take(t, jobs, n)
	anew(t, q)
	publishMany(t, q, n, 2*n)
	fresh := take(t, jobs, n)
	for _, l := range old {
		if l.Lapsed(time.Now()) {
			t.Fatalf("%s counts as lapsed, and is in no stream", l.Origin())
		}
	}
	if err := Ack(deadline(t), old); err != nil {
		t.Fatal(err)
	}
	if left := stored(t, q, JobStream(Normal)); left != n || jobs.Held() != n {
		t.Fatalf("%d new jobs are stored and %d held after the old ones were acked, want %d", left, jobs.Held(), n)
	}
	origins := map[string]bool{}
	for _, l := range append(old, fresh...) {
		origins[l.Origin()] = true
	}
	if len(origins) != 2*n {
		t.Errorf("%d jobs have %d origins", 2*n, len(origins))
	}
	if err := Ack(deadline(t), fresh); err != nil {
		t.Fatal(err)
	}
	if left := stored(t, q, JobStream(Normal)); left != 0 || jobs.Held() != 0 {
		t.Errorf("%d jobs are stored and %d held at the end", left, jobs.Held())
	}
}

// With fewer new jobs than are held, the acks of some lie beyond the new consumer's position: they are not
// waited for.
func TestAcksBeyondANewStreamDoNotHang(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publishMany(t, q, 0, 50)
	jobs := openJobs(t, q, JobsConfig{})
	old := take(t, jobs, 50)
	anew(t, q)
	if err := Ack(deadline(t), old); err != nil {
		// The stream was made anew a moment ago; it is noticed within a second.
		eventually(t, "the acks are done", func() bool { return Ack(deadline(t), old) == nil })
	}
	if jobs.Held() != 0 {
		t.Errorf("%d jobs are held", jobs.Held())
	}
}

// What is held of a stream that is gone is given back as a job that has come due.
func TestReleaseOfAJobWhoseStreamIsGone(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a"))
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	anew(t, q)
	eventually(t, "the new stream is noticed", func() bool { return l.standing.Load() == orphaned })
	l.Release()
	if again := take(t, jobs, 1)[0]; again.Job.ID != "one" || again.Stream != LaterStream {
		t.Errorf("%s came back from %s", again.Job.ID, again.Stream)
	}
}

// A consumer that was made anew delivers once more what is held. Whoever holds it goes on, and whose outcome is
// known does not come back.
func TestConsumerMadeAnew(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publishMany(t, q, 0, 10)
	jobs := openJobs(t, q, JobsConfig{})
	held := take(t, jobs, 10)
	if err := q.js.DeleteConsumer(t.Context(), JobStream(Normal), ConsumerName); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the leases lapse", func() bool { return held[9].Lapsed(time.Now()) })
	if err := Ack(deadline(t), held[:4]); err != nil {
		t.Fatal(err)
	}
	if left := stored(t, q, JobStream(Normal)); left != 6 {
		t.Errorf("%d jobs are stored after four of ten are done", left)
	}
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the leases are renewed by the new consumer", func() bool { return !held[4].Lapsed(time.Now()) && !held[9].Lapsed(time.Now()) })
	for _, l := range held[4:] {
		if l.standing.Load() != leased || l.address() == l.reply {
			t.Errorf("%s is not a lease of the new consumer", l.Origin())
		}
	}
	if jobs.Held() != 6 {
		t.Errorf("%d jobs are held, want those of before", jobs.Held())
	}
	if err := Ack(deadline(t), held[4:]); err != nil {
		t.Fatal(err)
	}
	if left := stored(t, q, JobStream(Normal)); left != 0 || jobs.Held() != 0 {
		t.Errorf("%d jobs are stored and %d held at the end", left, jobs.Held())
	}
}

// A volume that was restored from a backup has streams as old as those that were lost, and other jobs at the same
// places: the acks of those that are held end none of these.
func TestRestoredVolume(t *testing.T) {
	t.Parallel()
	dir, backup := t.TempDir(), t.TempDir()
	b := newServer(t, broker.Config{Dir: dir})
	port := portOf(t, b)
	q := connect(t, b)
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	publishMany(t, q, 0, 10)
	jobs := openJobs(t, q, JobsConfig{})
	before := take(t, jobs, 10)
	b.Stop()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restart := func(from string) {
		t.Helper()
		b = newServer(t, broker.Config{Dir: from, Port: port})
		eventually(t, "the connection is restored", q.Connected)
	}
	restart(dir)
	publishMany(t, q, 10, 20)
	lost := take(t, jobs, 10)
	b.Stop()
	restart(backup)
	publishMany(t, q, 20, 40) // ten of them at the places of those that were lost
	fresh := take(t, jobs, 20)
	if err := Ack(deadline(t), lost); err != nil {
		t.Fatal(err)
	}
	if left := stored(t, q, JobStream(Normal)); left != 30 {
		t.Errorf("%d jobs are stored after the acks of jobs that are gone, want 30", left)
	}
	if err := Ack(deadline(t), append(before, fresh...)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left", func() bool { return stored(t, q, JobStream(Normal)) == 0 && jobs.Held() == 0 })
}

// A stream is in an earlier state than when a job was delivered if it has not come so far, or has another job there.
func TestStreamInAnEarlierState(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a"), job("two", "m", "a"))
	l := take(t, openJobs(t, q, JobsConfig{}), 2)[1]
	for _, c := range []struct {
		name string
		last uint64
		job  place
		want bool
	}{
		{"nothing is held", 0, place{}, false},
		{"the same job", 2, l.place(), false},
		{"another job", 2, place{2, l.place().stored - 1}, true},
		{"not so far", 1, l.place(), true},
		{"empty", 0, l.place(), true},
		{"it was acked", 9, place{7, 1}, false},
	} {
		if back, err := q.wentBack(t.Context(), JobStream(Normal), c.last, c.job); back != c.want || err != nil {
			t.Errorf("%s: %v, %v", c.name, back, err)
		}
	}
}

// What a consumer delivers that is not known to be that of the leases is not taken: it numbers its deliveries anew.
func TestJobsOfAnotherConsumerAreNotTaken(t *testing.T) {
	t.Parallel()
	jobs := openJobs(t, newQueue(t), JobsConfig{})
	s := jobs.sources[0]
	eventually(t, "the consumer is known", func() bool { return jobs.isSure(s) })
	for i, c := range []struct {
		of       generation
		delivery int
		want     int
	}{{generation{1, 1}, 6, 0}, {s.of, 5, 0}, {s.of, 6, 1}} {
		n := &session{source: s, of: c.of, last: 5, end: make(chan error, 1)}
		jobs.arrive(n, &nats.Msg{
			Subject: JobSubject(Urgent, projectA), Data: encoded(t, job("one", "m", "a")), Sub: &nats.Subscription{},
			Reply: fmt.Sprintf("$JS.ACK.%s.%s.1.7.%d.%d.0", s.stream, ConsumerName, c.delivery, time.Now().UnixNano()),
		})
		if jobs.Held() != c.want || len(n.end) != 1-c.want {
			t.Errorf("job %d: %d held, the session ends: %v", i, jobs.Held(), len(n.end) == 1)
		}
	}
}

func portOf(t *testing.T, b *broker.Server) int {
	t.Helper()
	u, err := url.Parse(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
