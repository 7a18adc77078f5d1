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

// manyRecipients are of 200 bytes each, so that 1,800 do not fit into one message.
func manyRecipients(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%0200d", i)
	}
	return ids
}

func TestPublishSplitsWhatIsTooLargeForAMessage(t *testing.T) {
	t.Parallel()
	q := newQueueWithPayload(t, 1<<20)
	ids := manyRecipients(4000)
	ids = append(ids, ids[:100]...)
	before := slices.Clone(ids)
	for i := range 2 {
		receipt, err := q.Publisher(PublisherConfig{}).Publish(deadline(t), Normal, job("big", "m", ids...))
		if err != nil || receipt != (Receipt{"big", 4, i > 0}) {
			t.Fatalf("publication %d: %+v, %v", i, receipt, err)
		}
	}
	if !slices.Equal(ids, before) {
		t.Error("the caller's recipients were changed")
	}
	seen := recipients(t, q, 4, 1000)
	if len(seen) != 4000 {
		t.Errorf("%d of 4,000 recipients arrived", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s is named %d times", id, n)
		}
	}
}

// Observed: 700 recipients were told 2,800 times, by the same id with another limit of recipients and with
// other priorities.
func TestSevenHundredRecipientsAreToldOnce(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	one := job("sale", "m", manyRecipients(700)...)
	pub := q.Publisher(PublisherConfig{})
	for i, headers := range []map[string][]string{nil, {"X-App": {strings.Repeat("v", 40<<10)}}} {
		if receipt, err := pub.PublishWithHeaders(deadline(t), Normal, one, headers); err != nil || receipt.Duplicate != (i > 0) {
			t.Errorf("%+v, %v", receipt, err)
		}
	}
	for _, other := range []Priority{Urgent, Bulk} {
		receipt, err := pub.Publish(deadline(t), other, one)
		if !errors.Is(err, ErrOtherPriority) || errors.Is(err, ErrUncertain) || receipt.JobID != "sale" || !strings.HasSuffix(err.Error(), ": normal") {
			t.Errorf("%s: %+v, %v", other, receipt, err)
		}
	}
	all := func(yield func(Priority, Job) bool) { _ = yield(Bulk, one) && yield(Urgent, one) && yield(Normal, one) }
	var errs []error
	if err := pub.PublishAll(deadline(t), all, func(_ Receipt, err error) { errs = append(errs, err) }); err != nil || len(errs) != 3 ||
		!errors.Is(errs[0], ErrOtherPriority) || !errors.Is(errs[1], ErrOtherPriority) || errs[2] != nil {
		t.Errorf("all: %v, %v", errs, err)
	}
	if n := stored(t, q, "NOTIFY_URGENT") + stored(t, q, "NOTIFY_NORMAL") + stored(t, q, "NOTIFY_BULK"); n != 1 {
		t.Errorf("%d jobs stored", n)
	}
}

// Observed: an id that another project had taken swallowed the job of its owner.
func TestAnIDTakenInAdvanceSwallowsNothing(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	victim := job("order-8732-ready", "m", "w")
	for _, id := range []string{projectA + ".order-8732-ready", projectA + ".order-8732-ready.0.1"} {
		publishRaw(t, q, JobSubject(Normal, projectB), "x", jetstream.MsgIDHeader+": "+id)
	}
	pub := q.Publisher(PublisherConfig{})
	if receipt, err := pub.Publish(deadline(t), Normal, victim); err != nil || receipt.Duplicate {
		t.Errorf("%+v, %v", receipt, err)
	}
	// Nor does an id that comes again with other content.
	soon := victim
	soon.ExpiresAt = time.Now().Add(time.Hour)
	for _, other := range []Job{job(victim.ID, "another", "w"), job(victim.ID, "m", "w", "v"), soon} {
		if receipt, err := pub.Publish(deadline(t), Normal, other); err != nil || receipt.Duplicate {
			t.Errorf("%+v: %+v, %v", other, receipt, err)
		}
	}
	soon.ExpiresAt = soon.ExpiresAt.In(time.FixedZone("", 3600)) // the same time, written otherwise
	if receipt, err := pub.Publish(deadline(t), Normal, soon); err != nil || !receipt.Duplicate {
		t.Errorf("in another zone: %+v, %v", receipt, err)
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
			pub := q.Publisher(PublisherConfig{RetryFor: time.Second, OnRetry: func(error) { retries++ }})
			// The last attempt may begin so late that its answer is not awaited.
			if _, err := pub.Publish(deadline(t), Normal, job("three", "m", "w")); !errors.Is(err, ErrFull) && !errors.Is(err, ErrUncertain) || retries < 2 {
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
