package queue

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What a producer writes into the headers of a job is no word of the server, nor kept for the next pull: each
// becomes a lease, and the intake goes on.
func TestHeadersOfAJobAreNotTheServersWord(t *testing.T) {
	t.Parallel()
	for _, headers := range []nats.Header{
		{"Nats-Pin-Id": {"x"}},
		{"Status": {"100"}}, {"Status": {"100"}, "Description": {"Idle Heartbeat"}}, {"Status": {"404"}}, {"Status": {"408"}, "Nats-Pending-Messages": {"2000"}},
		{"Status": {"409"}, "Description": {"Consumer Deleted"}}, {"Status": {"409"}, "Description": {"Exceeded MaxRequestBatch of 1"}},
		{"Status": {"423"}}, {"Status": {"503"}}, {"Status": {"400"}},
	} {
		t.Run(fmt.Sprint(headers), func(t *testing.T) {
			q := newQueue(t)
			jobs := openJobs(t, q, JobsConfig{OnError: func(err error) { t.Error(err) }})
			send := func(data string, h nats.Header) {
				t.Helper()
				if _, err := q.js.PublishMsg(t.Context(), &nats.Msg{Subject: JobSubject(Normal, projectA), Data: []byte(data), Header: h}); err != nil {
					t.Fatal(err)
				}
			}
			valid := strings.ReplaceAll(with("message", `"m"`), "\n", "")
			for range 3 {
				send("", headers)
				send(valid, headers)
				send(valid, nil)
			}
			leases := take(t, jobs, 9)
			invalid := 0
			for _, l := range leases {
				if l.Invalid != nil {
					invalid++
				}
			}
			if invalid != 3 {
				t.Errorf("%d leases are invalid, want the 3 without a payload", invalid)
			}
			if err := Ack(deadline(t), leases); err != nil {
				t.Fatal(err)
			}
			send(valid, nil)
			take(t, jobs, 1)
			if err := jobs.Ready(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A pull asks for no more than the consumer allows.
func TestPullsKeepToTheConsumersLimits(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	consumer, err := q.js.Consumer(t.Context(), JobStream(Normal), ConsumerName)
	if err != nil {
		t.Fatal(err)
	}
	cfg := consumer.CachedInfo().Config
	cfg.MaxRequestBatch, cfg.MaxRequestExpires = 100, 2e9
	if _, err := q.js.UpdateConsumer(t.Context(), JobStream(Normal), cfg); err != nil {
		t.Fatal(err)
	}
	publishMany(t, q, 0, 1000)
	jobs := openJobs(t, q, JobsConfig{OnError: func(err error) { t.Error(err) }})
	if err := Ack(deadline(t), take(t, jobs, 1000)); err != nil {
		t.Fatal(err)
	}
	// The limits may be lowered while pulls are under way.
	cfg.MaxRequestBatch, cfg.MaxRequestMaxBytes = 10, 1<<20+256<<10
	if _, err := q.js.UpdateConsumer(t.Context(), JobStream(Normal), cfg); err != nil {
		t.Fatal(err)
	}
	publishMany(t, q, 1000, 4000)
	if err := Ack(deadline(t), take(t, jobs, 3000)); err != nil {
		t.Fatal(err)
	}
	if err := jobs.Ready(); err != nil {
		t.Error(err)
	}
}

// While pulls are refused the queue says so, and why; and that it is over.
func TestReadyWhilePullsAreRefused(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	jobs := openJobs(t, q, JobsConfig{})
	stream := JobStream(Urgent)
	if err := q.js.DeleteConsumer(t.Context(), stream, ConsumerName); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the queue says that the consumer is missing", func() bool {
		err := jobs.Ready()
		return err != nil && strings.Contains(err.Error(), "take in jobs from "+stream) && strings.Contains(err.Error(), "missing")
	})
	// It is made anew as one that pinned clients share, which do not come.
	cfg := consumerConfig(stream)
	cfg.PriorityPolicy, cfg.PriorityGroups, cfg.PinnedTTL = jetstream.PriorityPolicyPinned, []string{"g"}, 1e9
	if _, err := q.js.CreateConsumer(t.Context(), stream, cfg); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the queue says that pulls are refused", func() bool {
		err := jobs.Ready()
		return err != nil && strings.Contains(err.Error(), "refuses pulls: 400")
	})
	if err := q.js.DeleteConsumer(t.Context(), stream, ConsumerName); err != nil {
		t.Fatal(err)
	}
	if _, err := q.js.CreateConsumer(t.Context(), stream, consumerConfig(stream)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is well", func() bool { return jobs.Ready() == nil })
	publish(t, q, Urgent, job("one", "m", "a"))
	take(t, jobs, 1)
}
