package queue

import (
	"fmt"
	"testing"
	"time"
)

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

// While the window stays full nothing more comes, for as long as it takes; when it is free again all the
// rest comes, and nothing twice.
func TestFullWindowStopsTheIntake(t *testing.T) {
	const n, window = 1000, 100
	q := newQueue(t)
	publishMany(t, q, 0, n)
	jobs := openJobs(t, q, JobsConfig{Window: window})
	seen := map[string]bool{}
	for len(seen) < n {
		eventually(t, "the window is full", func() bool { return jobs.Held() >= min(window*15/16, n-len(seen)) })
		if held := jobs.Held(); held > window {
			t.Fatalf("%d leases are held with a window of %d", held, window)
		}
		leases, err := jobs.Next(deadline(t))
		if err != nil {
			t.Fatalf("after %d of %d jobs: %v", len(seen), n, err)
		}
		for _, l := range leases {
			if seen[l.Job.ID] || l.Redelivered {
				t.Errorf("%s was delivered twice", l.Job.ID)
			}
			seen[l.Job.ID] = true
		}
		if err := Ack(deadline(t), leases); err != nil {
			t.Fatal(err)
		}
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
