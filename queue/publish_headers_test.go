package queue

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestPublishWithHeaders(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	pub := q.Publisher(PublisherConfig{MaxRecipients: 1})
	headers := map[string][]string{"traceparent": {"00-1-2-01"}, "X-App": {"one", "two"}}
	receipt, err := pub.PublishWithHeaders(deadline(t), Normal, job("one", "m", "a", "b"), headers)
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

// Large headers leave less room for recipients in one message.
func TestPublishSplitsBesideItsHeaders(t *testing.T) {
	t.Parallel()
	q := newQueueWithPayload(t, 1<<20)
	var ids []string
	for i := range 205 { // fits without the headers
		ids = append(ids, fmt.Sprintf("%02000d", i))
	}
	pub := q.Publisher(PublisherConfig{})
	if receipt, err := pub.Publish(deadline(t), Normal, job("one", "m", ids...)); err != nil || receipt.Parts != 1 {
		t.Fatalf("without headers: %+v, %v", receipt, err)
	}
	receipt, err := pub.PublishWithHeaders(deadline(t), Normal, job("two", "m", ids...), map[string][]string{"X-App": {strings.Repeat("v", 45<<10)}})
	if err != nil || receipt.Parts != 2 {
		t.Errorf("with headers: %+v, %v", receipt, err)
	}
}
