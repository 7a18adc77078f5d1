package queue

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// When a job was published is known by the clock of NATS. A worker whose own clock is far behind believes it all the
// same: else the time for which a job is tried would begin anew whenever it comes back.
func TestPublishedBySomebodyElsesClock(t *testing.T) {
	stored := time.Now().Add(10 * time.Minute).UTC() // by the clock of NATS
	lease := func(published time.Time) *Lease {
		msg := &nats.Msg{Subject: duePrefix + "normal." + projectA, Header: nats.Header{}}
		msg.Header.Set(headerPublished, published.Format(time.RFC3339Nano))
		var err error
		if msg.Data, err = job("one", "m", "w").encode(); err != nil {
			t.Fatal(err)
		}
		return newLease(LaterStream, msg, &nats.MsgMetadata{Timestamp: stored, NumDelivered: 1})
	}
	if want := stored.Add(-time.Minute); !lease(want).PublishedAt.Equal(want) {
		t.Errorf("published at %v, taken for %v", want, lease(want).PublishedAt)
	}
	for _, never := range []time.Time{stored.Add(time.Second), stored.Add(1000 * time.Hour)} {
		if got := lease(never).PublishedAt; !got.Equal(stored) {
			t.Errorf("stored at %v, and taken for published at %v", stored, got)
		}
	}
}
