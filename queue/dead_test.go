package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// letter is one about job id, which stood at place n of NOTIFY_NORMAL.
func letter(id string, n int, ids ...string) DeadLetter {
	return DeadLetter{
		JobID: id, ProjectID: projectA, Priority: Normal, Message: "m ☕", WovenIDs: ids, Reason: Rejected,
		Failures: []Failure{{ids, "user not found", 200}}, History: History{Attempts: 1, PublishedAt: time.Now().UTC()},
		FailedAt: time.Now().UTC(), Origin: fmt.Sprint("normal-", n),
	}
}

func bury(t *testing.T, q *Queue, letters ...DeadLetter) {
	t.Helper()
	if _, err := q.Bury(deadline(t), letters); err != nil {
		t.Fatal(err)
	}
}

// limit changes the limits of a stream.
func limit(t *testing.T, q *Queue, stream string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	change(&cfg)
	if _, err := q.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// Rule 5: a letter is written once however often a crash repeats the settlement.
func TestBuryAgainReplacesTheLetter(t *testing.T) {
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a", "b"))
	l := take(t, openJobs(t, q, JobsConfig{}), 1)[0]
	first := letter("one", 0, "a", "b")
	first.Origin = l.Origin()
	second := first
	second.Attempts = 2
	other := first
	other.Reason = Exhausted
	bury(t, q, first)
	// A crash here, between Bury and Ack, repeats the settlement.
	bury(t, q, second, other)
	if err := Ack(t.Context(), []*Lease{l}); err != nil {
		t.Fatal(err)
	}
	found := letters(t, q, Filter{})
	if len(found) != 2 || found[0].Attempts != 2 || found[0].Reason != Rejected || found[1].Reason != Exhausted || found[0].Origin != l.Origin() {
		t.Errorf("letters %+v", found)
	}
}

func TestBuryWhenFullLosesNothing(t *testing.T) {
	q := newQueue(t)
	limit(t, q, DeadStream, func(c *jetstream.StreamConfig) { c.MaxMsgs = 2 })
	bury(t, q, letter("one", 1, "a"), letter("two", 2, "a"))
	_, err := q.Bury(deadline(t), []DeadLetter{letter("three", 3, "a")})
	if !errors.Is(err, ErrFull) {
		t.Fatalf("burying in a full stream: %v", err)
	}
	found := letters(t, q, Filter{})
	if len(found) != 2 || found[0].JobID != "one" {
		t.Fatalf("letters %+v", found)
	}
	if err := q.Drop(t.Context(), found[0].Seq); err != nil {
		t.Fatal(err)
	}
	bury(t, q, letter("three", 3, "a"))
	if found = letters(t, q, Filter{}); len(found) != 2 || found[1].JobID != "three" {
		t.Errorf("letters %+v", found)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	base := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	var all []DeadLetter
	for i := range 300 {
		l := letter(fmt.Sprint("job-", i%50), i, fmt.Sprint("w-", i%7), fmt.Sprint("x-", i))
		l.FailedAt = base.Add(time.Duration(i) * time.Minute)
		l.Reason = Reasons()[i%5] // all but invalid
		if i%3 == 0 {
			l.ProjectID = projectB
		}
		all = append(all, l)
	}
	bury(t, q, all...)
	at := func(minutes int) time.Time { return base.Add(time.Duration(minutes) * time.Minute) }
	for _, c := range []struct {
		name string
		f    Filter
		want func(i int) bool
	}{
		{"all", Filter{}, func(int) bool { return true }},
		{"project", Filter{Project: projectB}, func(i int) bool { return i%3 == 0 }},
		{"unknown project", Filter{Project: UnknownProject}, func(int) bool { return false }},
		{"a project with wildcards", Filter{Project: "*"}, func(int) bool { return false }},
		{"a project with dots", Filter{Project: "a.b"}, func(int) bool { return false }},
		{"reason", Filter{Reason: Refused}, func(i int) bool { return i%5 == 1 }},
		{"since", Filter{Since: at(100)}, func(i int) bool { return i >= 100 }},
		{"until", Filter{Until: at(100)}, func(i int) bool { return i < 100 }},
		{"since and until", Filter{Since: at(10), Until: at(20)}, func(i int) bool { return i >= 10 && i < 20 }},
		{"job", Filter{Job: "job-7"}, func(i int) bool { return i%50 == 7 }},
		{"recipient", Filter{Recipient: "w-3"}, func(i int) bool { return i%7 == 3 }},
		{"everything", Filter{Project: projectA, Reason: Expired, Since: at(50), Until: at(250), Recipient: "w-3"},
			func(i int) bool { return i%3 != 0 && i%5 == 2 && i >= 50 && i < 250 && i%7 == 3 }},
		{"nothing", Filter{Project: projectA, Job: "job-7", Recipient: "nobody"}, func(int) bool { return false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want, got []string
			for i, l := range all {
				if c.want(i) {
					want = append(want, l.Origin)
				}
			}
			for _, l := range letters(t, q, c.f) {
				got = append(got, l.Origin)
			}
			if !slices.Equal(got, want) {
				t.Errorf("found %v\nwant %v", got, want)
			}
		})
	}
}

func TestDeadLettersEndsWithWhatWasThere(t *testing.T) {
	q := newQueue(t)
	for i := range 20 {
		bury(t, q, letter("old", i, "a"))
	}
	seen := 0
	err := q.DeadLetters(deadline(t), Filter{}, func(DeadLetter) bool {
		bury(t, q, letter("new", 1000+seen, "a")) // one more for each that is read: it must end all the same
		seen++
		return true
	})
	if err != nil || seen != 20 {
		t.Errorf("%d letters, want 20; %v", seen, err)
	}
	seen = 0
	if err := q.DeadLetters(deadline(t), Filter{}, func(DeadLetter) bool { seen++; return seen < 3 }); err != nil || seen != 3 {
		t.Errorf("%d letters, want 3; %v", seen, err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	err = q.DeadLetters(stopped, Filter{}, func(DeadLetter) bool { cancel(); return true })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("reading with a cancelled context: %v", err)
	}
}

// Dropping what it reads, or what it has yet to read, must not make it wait for ever.
func TestDeadLettersWhileLettersAreDropped(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	var all []DeadLetter
	for i := range 900 { // more than are read ahead
		all = append(all, letter(fmt.Sprint("j", i), i, "a"))
	}
	bury(t, q, all...)
	stream, err := q.js.Stream(t.Context(), DeadStream)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = q.DeadLetters(deadline(t), Filter{}, func(l DeadLetter) bool {
		if seen++; seen == 1 {
			if err := stream.Purge(t.Context()); err != nil {
				t.Error(err)
			}
		}
		return true
	})
	if err != nil || seen < 1 || seen > 900 {
		t.Errorf("%d letters, %v", seen, err)
	}
	bury(t, q, all[:200]...)
	seen = 0
	if err = q.DeadLetters(deadline(t), Filter{}, func(l DeadLetter) bool {
		if err := q.Drop(t.Context(), l.Seq); err != nil {
			t.Error(err)
		}
		seen++
		return true
	}); err != nil || seen != 200 || stored(t, q, DeadStream) != 0 {
		t.Errorf("%d letters read and dropped, %d left, %v", seen, stored(t, q, DeadStream), err)
	}
}

// A stream takes a thousand consumers, so a page that asks every second must not leave any behind.
func TestDeadLettersLeavesNoConsumers(t *testing.T) {
	q := newQueue(t)
	bury(t, q, letter("one", 1, "a"))
	for range 20 {
		letters(t, q, Filter{})
		letters(t, q, Filter{Reason: Ambiguous})
	}
	stream, err := q.js.Stream(t.Context(), DeadStream)
	if err != nil {
		t.Fatal(err)
	}
	for ctx := deadline(t); ; {
		info, err := stream.Info(ctx)
		if err != nil {
			t.Fatalf("waiting for the consumers to go: %v", err)
		}
		if info.State.Consumers == 0 {
			return
		}
	}
}

func TestDeadLetterAndDrop(t *testing.T) {
	q := newQueue(t)
	want := letter("one", 7, "a")
	bury(t, q, want, letter("two", 8, "a"))
	got, err := q.DeadLetter(t.Context(), 1)
	if err != nil || got.JobID != "one" || got.Origin != "normal-7" || got.Seq != 1 || !got.FailedAt.Equal(want.FailedAt) {
		t.Errorf("letter 1 is %+v, %v", got, err)
	}
	if err := q.Drop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{1, 99, 0} {
		if _, err := q.DeadLetter(t.Context(), seq); !errors.Is(err, ErrNoLetter) {
			t.Errorf("letter %d, which is not there: %v", seq, err)
		}
		if err := q.Drop(t.Context(), seq); !errors.Is(err, ErrNoLetter) {
			t.Errorf("drop letter %d, which is not there: %v", seq, err)
		}
		if err := q.Replay(t.Context(), seq); !errors.Is(err, ErrNoLetter) {
			t.Errorf("replay letter %d, which is not there: %v", seq, err)
		}
	}
	if left := letters(t, q, Filter{}); len(left) != 1 || left[0].JobID != "two" {
		t.Errorf("left are %+v", left)
	}
}
