package queue

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// A library knows neither the flags nor the commands of the program that uses it.
func plainWords(t *testing.T, err error) {
	t.Helper()
	for _, s := range []string{"chatrelay init", "--", "-js"} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("%v speaks of %s", err, s)
		}
	}
}

func TestConnectWhereNobodyAnswers(t *testing.T) {
	for _, at := range []string{"127.0.0.1:1", "127.0.0.1:99999"} {
		_, err := Connect(t.Context(), Config{URL: "nats://user:hunter2@" + at})
		if !errors.Is(err, ErrNoServer) || !strings.Contains(err.Error(), at) || strings.Contains(err.Error(), "hunter2") {
			t.Fatalf("error %v", err)
		}
		plainWords(t, err)
	}
	_, b := newQueueAt(t)
	if _, err := Connect(t.Context(), Config{URL: b.URL(), Creds: "absent"}); err == nil || errors.Is(err, ErrNoServer) {
		t.Errorf("without its credentials file: %v", err)
	}
}

// lookups are the functions that look up a stream.
func lookups(q *Queue) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Check":       q.Check,
		"Jobs":        func(ctx context.Context) error { _, err := q.Jobs(ctx, JobsConfig{}); return err },
		"Status":      func(ctx context.Context) error { _, err := q.Status(ctx, time.Millisecond); return err },
		"Backlog":     func(ctx context.Context) error { _, err := q.Backlog(ctx, LaterStream); return err },
		"DeadLetters": func(ctx context.Context) error { return q.DeadLetters(ctx, Filter{}, nil) },
		"DeadLetter":  func(ctx context.Context) error { _, err := q.DeadLetter(ctx, 1); return err },
		"Replay":      func(ctx context.Context) error { return q.Replay(ctx, 1) },
		"Drop":        func(ctx context.Context) error { return q.Drop(ctx, 1) },
	}
}

func TestErrorsWithoutStreams(t *testing.T) {
	t.Parallel()
	q, _ := newQueueAt(t)
	for name, f := range lookups(q) {
		err := f(deadline(t))
		if !errors.Is(err, ErrMissing) || !errors.Is(err, ErrNotReady) {
			t.Fatalf("%s: %v", name, err)
		}
		plainWords(t, err)
	}
	receipt, err := q.Publisher(PublisherConfig{RetryFor: -1}).Publish(deadline(t), Normal, job("one", "m", "a"))
	if !errors.Is(err, ErrNoStream) || receipt.JobID != "one" {
		t.Fatalf("publish: %+v, %v", receipt, err)
	}
	plainWords(t, err)

	// One stream is missing, or a consumer.
	if _, err := q.Init(deadline(t), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := q.js.DeleteStream(t.Context(), DeadStream); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Status(deadline(t), time.Millisecond); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), DeadStream) {
		t.Errorf("status without %s: %v", DeadStream, err)
	}
	if err := q.js.DeleteConsumer(t.Context(), LaterStream, ConsumerName); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Backlog(deadline(t), LaterStream); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "consumer") {
		t.Errorf("backlog without a consumer: %v", err)
	}
}

func TestErrorsWithoutJetStream(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	q, err := Connect(t.Context(), Config{URL: s.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	all := lookups(q)
	all["Init"] = func(ctx context.Context) error { _, err := q.Init(ctx, InitConfig{}); return err }
	for name, f := range all {
		err := f(deadline(t))
		if !errors.Is(err, ErrNoJetStream) || errors.Is(err, ErrMissing) {
			t.Fatalf("%s: %v", name, err)
		}
		plainWords(t, err)
	}
}

func TestErrorsWithUnsuitableStreams(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, DeadStream, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour })
	for _, name := range []string{"Check", "Jobs"} {
		if err := lookups(q)[name](deadline(t)); !errors.Is(err, ErrNotReady) || errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
