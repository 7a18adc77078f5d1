package queue

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// troubles counts what a source reports.
func troubles(t *testing.T) (onError func(error), count func() int32) {
	var n atomic.Int32
	return func(err error) {
		if n.Add(1) < 5 {
			t.Log(err)
		}
	}, n.Load
}

// Jobs of very different sizes end one pull after another with bytes to spare, and that is no trouble: only a pull
// that brought nothing was too small.
func TestSmallAndLargeJobsMixed(t *testing.T) {
	q := newQueue(t)
	const n = 15_000
	rng := rand.New(rand.NewPCG(1, 2))
	publisher := q.Publisher(PublisherConfig{})
	for i := range n {
		j := job(fmt.Sprint("j", i), strings.Repeat("m", 1200), "w")
		if rng.IntN(150) == 0 { // some of them when two pulls have brought so much that neither has room for it
			for k := range 9500 {
				j.WovenIDs = append(j.WovenIDs, strings.Repeat("w", 90)+fmt.Sprint(k))
			}
		}
		if _, err := publisher.Publish(t.Context(), Normal, j); err != nil {
			t.Fatal(err)
		}
	}
	onError, count := troubles(t)
	jobs := openJobs(t, q, JobsConfig{Window: 1500, WindowBytes: 4 * 2 << 20, OnError: onError})
	for done := 0; done < n; {
		leases, err := jobs.Next(deadline(t))
		if err != nil {
			t.Fatalf("after %d of %d jobs: %v", done, n, err)
		}
		if err := Ack(deadline(t), leases); err != nil {
			t.Fatal(err)
		}
		done += len(leases)
	}
	if count() > 0 || len(jobs.Conditions()) > 0 {
		t.Errorf("%d errors, conditions %v", count(), jobs.Conditions())
	}
}

// What is due, and larger than max_payload allows by now, still comes, and so does what is behind it.
func TestLargerThanMaxPayloadIsNow(t *testing.T) {
	s := serverOf(t, `jetstream {}; max_payload: 8MB`)
	q := works(t, Config{URL: s.ClientURL()})
	for _, payload := range []string{strings.Repeat("[", 7<<20), "["} {
		if _, err := q.js.Publish(t.Context(), duePrefix+"normal."+projectA, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	s.reload(t, func(o *server.Options) { o.MaxPayload = 3 << 20 })
	q = connectTo(t, s.ClientURL())
	onError, count := troubles(t)
	jobs := openJobs(t, q, JobsConfig{WindowBytes: 1 << 20, OnError: onError})
	for done := 0; done < 2; {
		leases, err := jobs.Next(deadline(t))
		if err != nil {
			t.Fatalf("after %d of 2 jobs: %v", done, err)
		}
		if err := Ack(deadline(t), leases); err != nil {
			t.Fatal(err)
		}
		done += len(leases)
	}
	if count() > 0 {
		t.Errorf("%d errors", count())
	}
}

// Of two pulls that end because the next job is too large for what is left of them, one that brought something was
// large enough, and one that brought nothing was not.
func TestWhichPullWasTooSmall(t *testing.T) {
	t.Parallel()
	jobs := openJobs(t, newQueue(t), JobsConfig{})
	s := jobs.sources[0]
	end := func(brought int) (before, after int) {
		var msg *nats.Msg
		eventually(t, "a pull is under way", func() bool {
			jobs.mu.Lock()
			defer jobs.mu.Unlock()
			if s.session == nil {
				return false
			}
			for name, asked := range s.window.pulls {
				msg = &nats.Msg{Subject: s.session.inbox + name, Header: nats.Header{}}
				msg.Header.Set("Status", "409")
				msg.Header.Set("Description", "Message Size Exceeds MaxBytes")
				msg.Header.Set("Nats-Pending-Messages", strconv.Itoa(asked-brought))
			}
			return msg != nil
		})
		largest := func() int {
			jobs.mu.Lock()
			defer jobs.mu.Unlock()
			return s.limits.largest
		}
		before = largest()
		jobs.receive(s.session, msg)
		return before, largest()
	}
	if before, after := end(1); after != before {
		t.Errorf("a pull that brought a job has the next ones bring %d bytes instead of %d", after, before)
	}
	if before, after := end(0); after != 2*before {
		t.Errorf("a pull that brought nothing has the next ones bring %d bytes, as %d were too few", after, before)
	}
}
