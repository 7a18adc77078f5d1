package queue

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A worker whose user lost the permission to pull says that, and not that too many pulls are waiting.
func TestPullsThatAreDenied(t *testing.T) {
	t.Parallel()
	_, q := withUsers(t, `publish: {allow: ">", deny: "$JS.API.CONSUMER.MSG.NEXT.NOTIFY_BULK.worker"}, subscribe: ">"`)
	jobs := openJobs(t, q, JobsConfig{})
	eventually(t, "it is said why nothing is taken in", func() bool {
		for _, c := range jobs.Conditions() {
			if jobs.Ready() != nil && strings.HasSuffix(c.What, JobStream(Bulk)) && strings.Contains(c.Detail, "may not publish to the subject: $JS.API.CONSUMER.MSG.NEXT.NOTIFY_BULK.worker") {
				return true
			}
		}
		return false
	})
}

// A worker whose user may not ack any more says that.
func TestAcksThatAreDenied(t *testing.T) {
	t.Parallel()
	_, q := withUsers(t, `publish: {allow: ">", deny: "$JS.ACK.NOTIFY_BULK.>"}, subscribe: ">"`)
	publish(t, q, Bulk, job("one", "m", "a"))
	jobs := openJobs(t, q, JobsConfig{})
	held := take(t, jobs, 1)
	if err := Ack(deadline(t), held); !errors.Is(err, ErrDenied) {
		t.Errorf("%v, want %v", err, ErrDenied)
	}
	if all := jobs.Conditions(); len(all) != 0 {
		t.Errorf("it is said at once: %v", all)
	}
	held[0].from.unacked.Since = time.Now().Add(-time.Minute)
	if all := jobs.Conditions(); len(all) != 1 || all[0].What != "confirm what is settled of NOTIFY_BULK" || !strings.Contains(all[0].Detail, "may not publish to the subject: $JS.ACK.NOTIFY_BULK.worker") {
		t.Errorf("conditions %v", all)
	}
	jobs.confirmed(held[0].from, nil)
	if all := jobs.Conditions(); len(all) != 0 {
		t.Errorf("it goes on being said: %v", all)
	}
}
