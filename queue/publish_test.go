package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestPublishValidatesBeforeSending(t *testing.T) {
	q, _ := newQueueAt(t) // no streams: whatever is sent fails otherwise
	pub := q.Publisher(PublisherConfig{RetryFor: -1})
	for _, j := range []Job{{}, job("a b", "m", "w"), job("one", "", "w"), job("one", "m"), job("one", "m", "w", ""), job("one", "m\xff", "w")} {
		if _, err := pub.Publish(t.Context(), Normal, j); !errors.Is(err, ErrInvalid) {
			t.Errorf("publish %+v: %v", j, err)
		}
	}
	if _, err := pub.Publish(t.Context(), "pressing", job("one", "m", "w")); err == nil || !strings.Contains(err.Error(), "pressing") {
		t.Errorf("publish with an unknown priority: %v", err)
	}
}

func TestPublishTwiceStoresOnce(t *testing.T) {
	q := newQueue(t)
	pub := q.Publisher(PublisherConfig{})
	for i := range 3 {
		receipt, err := pub.Publish(t.Context(), Normal, job("one", "m", "w"))
		if err != nil || receipt != (Receipt{"one", 1, i > 0}) {
			t.Errorf("publication %d: %+v, %v", i, receipt, err)
		}
	}
	// Another project's job may bear the same id.
	theirs := job("one", "m", "w")
	theirs.ProjectID = projectB
	if receipt, err := pub.Publish(t.Context(), Normal, theirs); err != nil || receipt.Duplicate {
		t.Errorf("the other project's job: %+v, %v", receipt, err)
	}
	made := map[string]bool{}
	for range 2 {
		receipt, err := pub.Publish(t.Context(), Normal, job("", "m", "w"))
		if err != nil || !validID(receipt.JobID) || receipt.Duplicate {
			t.Errorf("without an id: %+v, %v", receipt, err)
		}
		made[receipt.JobID] = true
	}
	if n := stored(t, q, "NOTIFY_NORMAL"); n != 4 || len(made) != 2 {
		t.Errorf("%d jobs stored, want 4; ids %v", n, made)
	}
}

// recipients takes n jobs and counts how often each recipient is named.
func recipients(t *testing.T, q *Queue, n, limit int) map[string]int {
	t.Helper()
	seen := map[string]int{}
	leases := take(t, openJobs(t, q, JobsConfig{}), n)
	for _, l := range leases {
		if l.Invalid != nil || len(l.Job.WovenIDs) > limit {
			t.Errorf("part with %d recipients: %v", len(l.Job.WovenIDs), l.Invalid)
		}
		for _, id := range l.Job.WovenIDs {
			seen[id]++
		}
	}
	return seen
}

func TestPublishSplitsWhatHasTooManyRecipients(t *testing.T) {
	q := newQueue(t)
	var ids []string
	for i := range 25 {
		ids = append(ids, fmt.Sprint("w", i), "everybody", fmt.Sprint("w", i))
	}
	before := slices.Clone(ids)
	for i := range 2 {
		receipt, err := q.Publisher(PublisherConfig{MaxRecipients: 10}).Publish(t.Context(), Normal, job("big", "m", ids...))
		if err != nil || receipt != (Receipt{"big", 3, i > 0}) {
			t.Errorf("publication %d: %+v, %v", i, receipt, err)
		}
	}
	if !slices.Equal(ids, before) {
		t.Error("the caller's recipients were changed")
	}
	seen := recipients(t, q, 3, 10)
	if len(seen) != 26 {
		t.Errorf("%d recipients, want 26", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s is named %d times", id, n)
		}
	}
}

// A producer that crashed half-way, and comes back with another limit, may repeat recipients, but
// no part may pass for another and lose some.
func TestPublishAgainWithAnotherLimitLosesNobody(t *testing.T) {
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint("w", i))
	}
	for _, limit := range []int{20, 500} {
		q := newQueue(t)
		begun := q.Publisher(PublisherConfig{MaxRecipients: 10}).prepare(Normal, job("big", "m", ids...), nil)
		if _, err := q.js.PublishMsg(t.Context(), begun.msgs[0]); err != nil { // and here it crashed
			t.Fatal(err)
		}
		if _, err := q.Publisher(PublisherConfig{MaxRecipients: limit}).Publish(t.Context(), Normal, job("big", "m", ids...)); err != nil {
			t.Fatal(err)
		}
		if seen := recipients(t, q, stored(t, q, "NOTIFY_NORMAL"), 500); len(seen) != 40 {
			t.Errorf("%d of 40 recipients arrived with the limit %d", len(seen), limit)
		}
	}
}

func TestPublishSplitsWhatIsTooLargeForAMessage(t *testing.T) {
	t.Parallel()
	q := newQueueWithPayload(t, 1<<20)
	var ids []string
	for i := range 450 {
		ids = append(ids, fmt.Sprintf("%02000d", i))
	}
	receipt, err := q.Publisher(PublisherConfig{}).Publish(deadline(t), Normal, job("big", "m", ids...))
	if err != nil || receipt.Parts < 3 {
		t.Fatalf("receipt %+v, %v", receipt, err)
	}
	if seen := recipients(t, q, receipt.Parts, 500); len(seen) != 450 {
		t.Errorf("%d of 450 recipients arrived", len(seen))
	}
	for _, size := range []int{500 << 10, 2 << 20} { // more than the stream takes, and than the server takes
		_, err := q.Publisher(PublisherConfig{}).Publish(deadline(t), Normal, job("huge", strings.Repeat("m", size), "w"))
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("publish a message of %d bytes: %v", size, err)
		}
	}
}

// A full stream refuses; once there is room the waiting job is stored, once.
func TestPublishIntoAFullStream(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		full  func(*Queue) error
		other Job // what room is left for, if anything
	}{
		{"stream", nil, Job{}},
		{"quota of the project", func(q *Queue) error { _, err := q.Init(t.Context(), InitConfig{MaxQueued: 2}); return err },
			Job{ID: "other", ProjectID: projectB, Message: "m", WovenIDs: []string{"w"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var q *Queue
			if c.full == nil {
				q = newQueue(t)
				limit(t, q, "NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.MaxMsgs = 2 })
			} else {
				q, _ = newQueueAt(t)
				if err := c.full(q); err != nil {
					t.Fatal(err)
				}
			}
			publish(t, q, Normal, job("one", "m", "w"), job("two", "m", "w"))
			if _, err := q.Publisher(PublisherConfig{RetryFor: -1}).Publish(deadline(t), Normal, job("three", "m", "w")); !errors.Is(err, ErrFull) {
				t.Fatalf("publish into a full stream: %v", err)
			}
			impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := q.Publisher(PublisherConfig{}).Publish(impatient, Normal, job("three", "m", "w")); !errors.Is(err, ErrFull) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("publish until the context ends: %v", err)
			}
			retries := 0
			pub := q.Publisher(PublisherConfig{RetryFor: 300 * time.Millisecond, OnRetry: func(error) { retries++ }})
			if _, err := pub.Publish(deadline(t), Normal, job("three", "m", "w")); !errors.Is(err, ErrFull) || retries < 2 {
				t.Errorf("after %d retries: %v", retries, err)
			}
			if c.other.ID != "" {
				publish(t, q, Normal, c.other)
			}
			// Room is made during the retries.
			pub = q.Publisher(PublisherConfig{OnRetry: func(err error) {
				if retries = retries + 1; errors.Is(err, ErrFull) {
					s, err := q.js.Stream(t.Context(), "NOTIFY_NORMAL")
					if err != nil {
						t.Error(err)
					} else {
						_ = s.DeleteMsg(t.Context(), 1) // gone the second time
					}
				}
			}})
			before := stored(t, q, "NOTIFY_NORMAL")
			receipt, err := pub.Publish(deadline(t), Normal, job("three", "m", "w"))
			if err != nil || receipt.Duplicate || stored(t, q, "NOTIFY_NORMAL") != before {
				t.Errorf("after room was made: %+v, %v, %d stored", receipt, err, stored(t, q, "NOTIFY_NORMAL"))
			}
		})
	}
}
