package queue

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func connectTo(t *testing.T, url string) *Queue {
	t.Helper()
	q, err := Connect(t.Context(), Config{URL: url, Patience: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

func withUser(s *natsd) string {
	return strings.Replace(s.ClientURL(), "nats://", "nats://u:p@", 1)
}

// A managed account demands max_bytes, and allows 10,000 unacknowledged messages and two minutes of ids.
func TestInitAdaptsToAManagedAccount(t *testing.T) {
	t.Parallel()
	s := serverOf(t, `
		jetstream { max_file_store: 20GB, max_mem: 1GB, limits { duplicate_window: "2m" } }
		max_payload: 4MB
		accounts { A {
			users [{user: u, password: p}]
			jetstream { max_store: 10GB, max_mem: 0, max_streams: 5, max_consumers: 10, max_ack_pending: 10000, max_bytes_required: true }
		} }`)
	q := connectTo(t, withUser(s))
	changes, err := q.Init(t.Context(), InitConfig{})
	if err != nil {
		t.Fatal(err)
	}
	warned := warnings(changes)
	for _, want := range []string{"NOTIFY_URGENT: its duplicate_window is 2m0s, better 10m0s", "NOTIFY_LATER: its duplicate_window is 2m0s, better 1h0m0s", "its max_ack_pending is 10000, better 200000"} {
		if !strings.Contains(warned, want) {
			t.Errorf("no warning %q in %s", want, warned)
		}
	}
	stream, err := q.js.Stream(t.Context(), LaterStream)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config.MaxBytes; got != 1<<30 {
		t.Errorf("NOTIFY_LATER has max_bytes %d", got)
	}
	if err := q.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if did := initDid(t, q, InitConfig{LaterMaxBytes: 2 << 30}); did[LaterStream] != "updated" || did["NOTIFY_BULK"] != "unchanged" {
		t.Errorf("with more bytes: %v", did)
	}
	publish(t, q, Normal, job("a", "m", "w"))
	take(t, openJobs(t, q, JobsConfig{}), 1)
}

// The limit on unacknowledged messages may be the server's, of which the account does not tell.
func TestInitAdaptsToTheServersLimit(t *testing.T) {
	t.Parallel()
	q := connectTo(t, serverOf(t, `
		jetstream { max_file_store: 20GB, limits { max_ack_pending: 5000 } }
		max_payload: 4MB`).ClientURL())
	changes, err := q.Init(t.Context(), InitConfig{})
	if warned := warnings(changes); err != nil || !strings.Contains(warned, "its max_ack_pending is 5000, better 200000") {
		t.Errorf("%s (%v)", warned, err)
	}
}

func TestInitSaysWhichLimitIsTooLow(t *testing.T) {
	t.Parallel()
	for limits, want := range map[string]string{
		"max_store: 10GB, max_mem: 0, max_streams: 3":              "five streams are needed, the account may have 3",
		"max_store: 2GB, max_mem: 0":                               "the account may store 2",
		"max_store: 10GB, max_mem: 0, store_max_stream_bytes: 1MB": "a stream of the account may have max_bytes of",
	} {
		t.Run(want, func(t *testing.T) {
			s := serverOf(t, `
				jetstream { max_file_store: 20GB, max_mem: 1GB }
				max_payload: 4MB
				accounts { A { users [{user: u, password: p}], jetstream { `+limits+` } } }`)
			if _, err := connectTo(t, withUser(s)).Init(t.Context(), InitConfig{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("init: %v", err)
			}
		})
	}
	t.Run("replicas", func(t *testing.T) {
		q, _ := newQueueAt(t)
		if _, err := q.Init(t.Context(), InitConfig{Replicas: 3}); err == nil || !strings.Contains(err.Error(), "3 replicas need as many servers") {
			t.Errorf("init: %v", err)
		}
	})
}

// Nobody has to know whether another has begun already, not even with other limits.
func TestInitByManyAtOnce(t *testing.T) {
	t.Parallel()
	for round := range 5 {
		_, b := newQueueAt(t)
		var wg sync.WaitGroup
		for n := range 4 {
			q := connect(t, b)
			wg.Go(func() {
				if _, err := q.Init(t.Context(), InitConfig{MaxQueued: int64(round % 2 * 10)}); err != nil {
					t.Errorf("init %d: %v", n, err)
				}
			})
		}
		wg.Wait()
		if err := connect(t, b).Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	_, b := newQueueAt(t)
	var wg sync.WaitGroup
	for n := range 4 {
		q := connect(t, b)
		wg.Go(func() {
			_, err := q.Init(t.Context(), InitConfig{MaxBytes: int64(n+1) << 28})
			if err != nil && !strings.Contains(err.Error(), "is not lowered") {
				t.Errorf("init %d with a limit of its own: %v", n, err)
			}
		})
	}
	wg.Wait()
}

// tooOld answers as JetStream of nats-server 2.11 does.
func TestInitOnAnOldServer(t *testing.T) {
	t.Parallel()
	s := serverOf(t, `max_payload: 4MB`) // without JetStream
	q := connectTo(t, s.ClientURL())
	old := connectTo(t, s.ClientURL())
	asked := make(chan string, 100)
	if _, err := old.nc.Subscribe("$JS.API.>", func(msg *nats.Msg) {
		asked <- msg.Subject
		_ = msg.Respond([]byte(`{"type":"io.nats.jetstream.api.v1.account_info_response","memory":0,"storage":0,"api":{"level":1,"total":1,"errors":0},"limits":{}}`))
	}); err != nil {
		t.Fatal(err)
	}
	if err := old.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	_, err := q.Init(t.Context(), InitConfig{})
	if !errors.Is(err, ErrTooOld) || !strings.Contains(fmt.Sprint(err), "2.12.0 or later is needed") {
		t.Errorf("init: %v", err)
	}
	for len(asked) > 0 {
		if subject := <-asked; subject != "$JS.API.INFO" {
			t.Errorf("asked for %s before it knew", subject)
		}
	}
}

// A stream that is unsafe is left alone; it hides neither what else is wrong nor what is missing behind it.
func TestInitGoesOnBehindAnUnsafeStream(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for _, name := range []string{"NOTIFY_NORMAL", LaterStream} {
		limit(t, q, name, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour })
	}
	if err := q.js.DeleteStream(t.Context(), DeadStream); err != nil {
		t.Fatal(err)
	}
	changes, err := q.Init(t.Context(), InitConfig{})
	if !errors.Is(err, ErrNotReady) || errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "NOTIFY_NORMAL: its max_age") || !strings.Contains(err.Error(), "NOTIFY_LATER: its max_age") {
		t.Errorf("init: %v", err)
	}
	if len(changes) != 3 || changes[2].Stream != DeadStream || changes[2].Did != "created" {
		t.Errorf("changes: %+v", changes)
	}
}
