package queue

import (
	"os"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue/broker"
)

// A consumer that was restored from a backup, or whose server crashed, may not have come as far as the jobs that
// are held: it ignores their acks. They are done all the same, also if nothing more may be pulled, and what was
// acked does not come again.
func TestConsumerThatWentBack(t *testing.T) {
	t.Parallel()
	dir, backup := t.TempDir(), t.TempDir()
	b := newServer(t, broker.Config{Dir: dir})
	port := portOf(t, b)
	q := connect(t, b)
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	const n = 40
	jobs := openJobs(t, q, JobsConfig{Window: n})
	publishMany(t, q, 0, 1)
	first := take(t, jobs, 1)
	pause := func(until time.Time) {
		t.Helper()
		if _, err := q.js.PauseConsumer(t.Context(), JobStream(Normal), ConsumerName, until); err != nil {
			t.Fatal(err)
		}
	}
	pause(time.Now().Add(time.Hour))
	publishMany(t, q, 1, n)
	stop := func() {
		t.Helper()
		b.Stop()
		eventually(t, "the connection is lost", func() bool { return !q.Connected() })
	}
	restart := func(from string) {
		t.Helper()
		b = newServer(t, broker.Config{Dir: from, Port: port})
		eventually(t, "the connection is restored", q.Connected)
		pause(time.Time{})
	}
	stop()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restart(dir)
	later := take(t, jobs, n-1)
	stop()
	restart(backup)
	eventually(t, "the acks are confirmed", func() bool { return Ack(deadline(t), append(later, first...)) == nil })
	if left := stored(t, q, JobStream(Normal)); left != 0 || jobs.Held() != 0 {
		t.Errorf("%d jobs are stored and %d held after all were acked", left, jobs.Held())
	}
}

// Also if no job is left of which the consumer knows.
func TestConsumerThatWentBackBehindAFullWindow(t *testing.T) {
	t.Parallel()
	dir, backup := t.TempDir(), t.TempDir()
	b := newServer(t, broker.Config{Dir: dir})
	port := portOf(t, b)
	q := connect(t, b)
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	stop := func() {
		t.Helper()
		b.Stop()
		eventually(t, "the connection is lost", func() bool { return !q.Connected() })
	}
	const n = 40
	publishMany(t, q, 0, n)
	stop()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	b = newServer(t, broker.Config{Dir: dir, Port: port})
	eventually(t, "the connection is restored", q.Connected)
	jobs := openJobs(t, q, JobsConfig{Window: n})
	held := take(t, jobs, n)
	stop()
	newServer(t, broker.Config{Dir: backup, Port: port})
	eventually(t, "the connection is restored", q.Connected)
	eventually(t, "the acks are confirmed", func() bool { return Ack(deadline(t), held) == nil })
	if left := stored(t, q, JobStream(Normal)); left != 0 || jobs.Held() != 0 {
		t.Errorf("%d jobs are stored and %d held after all were acked", left, jobs.Held())
	}
}
