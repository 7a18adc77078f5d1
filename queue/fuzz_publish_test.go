package queue

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// FuzzPublish demands that any job with any header is either invalid, or stored and leased as it was.
func FuzzPublish(f *testing.F) {
	q := newFuzzQueue(f)
	jobs, err := q.Jobs(f.Context(), JobsConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(jobs.Close)
	f.Add("one", projectA, "m", "w-1", "w-2", int64(0), int64(0), "traceparent", "00-1")
	f.Add("", projectB, "\x00 é", "\"", "\\", int64(60), int64(120), "X", "")
	f.Add("a b", "x", "\xff", "", "w", int64(1<<40), int64(-5), "Nats-Rollup", "all")
	f.Add("two", projectA, "m", "w", "w", int64(9), int64(3), "X-App", "a\r\nNats-Rollup: all")
	pub := q.Publisher(PublisherConfig{RetryFor: -1})
	f.Fuzz(func(t *testing.T, id, project, message, first, second string, wait, expire int64, name, value string) {
		want := Job{ID: id, ProjectID: project, Message: message, WovenIDs: []string{first, second}}
		now := time.Now().UTC().Truncate(time.Second)
		if wait != 0 {
			want.DeliverAt = now.Add(time.Duration(wait % (1 << 33) * int64(time.Second)))
		}
		if expire != 0 {
			want.ExpiresAt = now.Add(time.Duration(expire % (1 << 33) * int64(time.Second)))
		}
		headers := map[string][]string{name: {value}}
		receipt, err := pub.PublishWithHeaders(t.Context(), Normal, want, headers)
		if errors.Is(err, ErrInvalid) {
			return
		}
		if err != nil {
			t.Fatalf("published: %v", err)
		}
		if receipt.Duplicate {
			return
		}
		l := take(t, jobs, 1)[0]
		want.ID, want.WovenIDs = receipt.JobID, unique(want.WovenIDs)
		if l.Invalid != nil || !reflect.DeepEqual(l.Job, want) {
			t.Errorf("leased %+v (%v), want %+v", l.Job, l.Invalid, want)
		}
		if len(l.Headers) != 1 {
			t.Errorf("leased with %q, want %q", l.Headers, headers)
		}
		if err := Ack(t.Context(), []*Lease{l}); err != nil {
			t.Fatal(err)
		}
	})
}

// newFuzzQueue is a queue with all streams for a fuzz target.
func newFuzzQueue(f *testing.F) *Queue {
	f.Helper()
	q, _ := newQueueAt(f)
	if _, err := q.Init(f.Context(), InitConfig{MaxBytes: -1}); err != nil {
		f.Fatal(err)
	}
	return q
}
