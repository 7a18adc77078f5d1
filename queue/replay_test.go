package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// settleDead takes the only job, buries it and acks it, as a worker does, and gives the letter.
func settleDead(t *testing.T, q *Queue, jobs *Jobs) DeadLetter {
	t.Helper()
	return buryLease(t, q, take(t, jobs, 1)[0])
}

// The replay comes inside the duplicate window of the job's own id, and must not be swallowed.
func TestReplayPublishesThenDeletes(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Urgent, job("one", "m ☕", "a", "b"))
	jobs := openJobs(t, q, JobsConfig{})
	for replays := range 3 { // and dies again, and is replayed again
		dead := settleDead(t, q, jobs)
		if dead.Replays != replays {
			t.Errorf("letter %+v after %d replays", dead, replays)
		}
		if err := q.Replay(deadline(t), dead.Seq); err != nil {
			t.Fatal(err)
		}
		if n := stored(t, q, DeadStream); n != 0 {
			t.Errorf("%d letters after the replay", n)
		}
		if err := q.Replay(deadline(t), dead.Seq); !errors.Is(err, ErrNoLetter) {
			t.Errorf("replaying a letter that is gone: %v", err)
		}
	}
	l := take(t, jobs, 1)[0]
	if l.Job.ID != "one" || l.Priority != Urgent || l.Replays != 3 || l.Attempts != 0 || l.Job.Message != "m ☕" || !slices.Equal(l.Job.WovenIDs, []string{"a", "b"}) {
		t.Errorf("came back as %+v", l)
	}
}

// Rule 6: a crash between publishing and deleting never loses, and a second replay repeats nothing.
func TestReplayAfterACrashInBetween(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a"))
	jobs := openJobs(t, q, JobsConfig{})
	dead := settleDead(t, q, jobs)
	stream, err := q.deadStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := replayMessage(&dead, stream.CachedInfo().Created)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	// Here the first replay crashed.
	if err := q.Replay(deadline(t), dead.Seq); err != nil {
		t.Fatal(err)
	}
	take(t, jobs, 1)
	if n := stored(t, q, LaterStream); n != 1 {
		t.Errorf("%d jobs after two replays of one letter, want one", n)
	}
	if n := stored(t, q, DeadStream); n != 0 {
		t.Errorf("%d letters left", n)
	}
}

// A job whose letter was replayed before its worker, which crashed, could ack it is buried once more at the same
// place; and a stream of letters that was made anew begins with the same numbers. Neither is taken for a replay that
// was made before.
func TestReplayOfALetterThatCameAgain(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	dead := letter("one", 7, "a")
	for i, seq := range []uint64{1, 2, 1} {
		if i == 2 {
			if err := q.js.DeleteStream(t.Context(), DeadStream); err != nil {
				t.Fatal(err)
			}
			if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
				t.Fatal(err)
			}
		}
		bury(t, q, dead)
		if err := q.Replay(deadline(t), seq); err != nil {
			t.Fatal(err)
		}
		if n := stored(t, q, LaterStream); n != i+1 {
			t.Fatalf("%d jobs after %d replays", n, i+1)
		}
	}
}

// Rule 6, the other half: what could not be published is not deleted. A full quota is no reason.
func TestReplayKeepsTheLetterOrGoesAroundTheQuota(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Normal, job("in-the-way", "m", "a"))
	limit(t, q, "NOTIFY_NORMAL", func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	bury(t, q, letter("one", 7, "a"), letter("two", 8, "a"))
	if err := q.Replay(deadline(t), 1); err != nil {
		t.Errorf("replay while the project's stream is full: %v", err)
	}
	if err := q.js.DeleteStream(t.Context(), LaterStream); err != nil {
		t.Fatal(err)
	}
	if err := q.Replay(deadline(t), 2); !errors.Is(err, ErrNoStream) {
		t.Errorf("replay without a stream: %v", err)
	}
	if found := letters(t, q, Filter{}); len(found) != 1 || found[0].JobID != "two" {
		t.Errorf("left are %+v", found)
	}
}

func TestReplayOfWhatCannotBeAJob(t *testing.T) {
	q := newQueue(t)
	invalid := letter("", 1)
	invalid.ProjectID, invalid.Reason, invalid.Raw, invalid.Message = UnknownProject, Invalid, []byte("{"), ""
	odd := letter("odd", 2, "a")
	odd.Priority = "pressing"
	bury(t, q, invalid, odd)
	if err := q.Replay(deadline(t), 1); !errors.Is(err, ErrNotReplayable) {
		t.Errorf("replay of an invalid payload: %v", err)
	}
	if err := q.Replay(deadline(t), 2); err == nil {
		t.Error("replayed a letter without a priority")
	}
	if n := stored(t, q, DeadStream); n != 2 {
		t.Errorf("%d letters left, want both", n)
	}
}

// NOTIFY_LATER drops its oldest jobs when it is full: a replay must stop before that, and keeps its letters.
func TestReplayStopsBeforeItsStreamIsFull(t *testing.T) {
	q := newQueue(t)
	limit(t, q, LaterStream, func(c *jetstream.StreamConfig) { c.MaxBytes = 400_000 })
	const all = 60
	for i := range all {
		l := letter(fmt.Sprint(i), i+1, "a")
		l.Message = strings.Repeat("m", MaxMessageLength-100)
		bury(t, q, l)
	}
	full := 0
	for seq := range uint64(all) {
		switch err := q.Replay(deadline(t), seq+1); {
		case errors.Is(err, ErrFull):
			full++
		case err != nil:
			t.Fatal(err)
		}
	}
	jobs, dead := stored(t, q, LaterStream), stored(t, q, DeadStream)
	if jobs+dead != all || dead != full || jobs == 0 {
		t.Errorf("of %d letters %d are jobs, %d are letters, and %d did not fit", all, jobs, dead, full)
	}
}
