package queue

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestPublishWithHeaders(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	pub := q.Publisher(PublisherConfig{})
	headers := map[string][]string{"traceparent": {"00-1-2-01"}, "X-App": {"one", "two"}}
	receipt, err := pub.PublishWithHeaders(deadline(t), Normal, job("one", "m", manyRecipients(2000)...), headers)
	if err != nil || receipt.Parts != 2 {
		t.Fatalf("receipt %+v, %v", receipt, err)
	}
	for _, l := range take(t, openJobs(t, q, JobsConfig{}), 2) {
		if !reflect.DeepEqual(l.Headers, headers) {
			t.Errorf("the headers are %q", l.Headers)
		}
	}
	for _, bad := range []map[string][]string{
		{"Nats-Rollup": {"all"}}, {"Chatrelay-Replays": {"7"}}, {"Status": {"100"}}, {"x y": {"z"}}, {"": {"z"}},
		{"X-App": {strings.Repeat("v", 60<<10)}},
	} {
		if _, err := pub.PublishWithHeaders(deadline(t), Normal, job("two", "m", "a"), bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("published with %.60q: %v", bad, err)
		}
	}
}

// Headers do not move the boundaries of parts: the same job with others is recognized.
func TestPublishSplitsWhateverItsHeaders(t *testing.T) {
	t.Parallel()
	q := newQueueWithPayload(t, 1<<20)
	big := job("one", "m", manyRecipients(2000)...)
	pub := q.Publisher(PublisherConfig{})
	if receipt, err := pub.Publish(deadline(t), Normal, big); err != nil || receipt != (Receipt{"one", 2, false}) {
		t.Fatalf("without headers: %+v, %v", receipt, err)
	}
	receipt, err := pub.PublishWithHeaders(deadline(t), Normal, big, map[string][]string{"X-App": {strings.Repeat("v", 45<<10)}})
	if err != nil || receipt != (Receipt{"one", 2, true}) {
		t.Errorf("with headers: %+v, %v", receipt, err)
	}
}
