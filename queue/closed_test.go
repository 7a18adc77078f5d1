package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// nats-server does not tell its clients that max_payload was lowered by a reload, and closes the connection
// of who sends more than that; the client does not connect again then. What is stored already is delivered
// whatever its size.
func TestMaxPayloadLowered(t *testing.T) {
	t.Parallel()
	s := serverOf(t, `jetstream {}; max_payload: 4MB`)
	q := works(t, Config{URL: s.ClientURL()})
	large := job("large", "m")
	for i := range 60_000 {
		large.WovenIDs = append(large.WovenIDs, fmt.Sprintf("w-%06d", i))
	}
	data, err := large.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.js.Publish(t.Context(), JobSubject(Normal, projectA), data); err != nil {
		t.Fatal(err)
	}
	publish(t, q, Normal, job("small", "m", "w"))
	s.reload(t, func(o *server.Options) { o.MaxPayload = 400 << 10 })
	if got := len(take(t, openJobs(t, q, JobsConfig{}), 2)[0].Job.WovenIDs); got != 60_000 {
		t.Errorf("the larger job came with %d recipients", got)
	}
	if q.Err() != nil {
		t.Errorf("before anything was sent: %v", q.Err())
	}
	waiting := make(chan error, 1)
	go func() { waiting <- q.Check(deadline(t)) }()
	next := make(chan error, 1)
	idle := openJobs(t, q, JobsConfig{})
	go func() {
		for {
			if _, err := idle.Next(deadline(t)); err != nil {
				next <- err
				return
			}
		}
	}()
	if err := q.nc.Publish("anything", make([]byte, 500<<10)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-q.Closed():
	case <-deadline(t).Done():
		t.Fatal("the connection is not said to be closed")
	}
	if err := q.Err(); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "Maximum Payload Violation") {
		t.Errorf("closed because: %v", err)
	}
	if q.Connected() {
		t.Error("said to be connected")
	}
	<-waiting // whatever it says: it does not hang
	if err := <-next; !errors.Is(err, ErrClosed) {
		t.Errorf("next: %v", err)
	}
	if err := q.Check(deadline(t)); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("check: %v", err)
	}
	anew := connectAs(t, Config{URL: s.ClientURL()})
	if got := anew.nc.MaxPayload(); got != 400<<10 {
		t.Errorf("a new connection knows %d bytes", got)
	}
	if err := anew.nc.Publish("anything", make([]byte, 500<<10)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("more than that: %v", err)
	}
}

// What the client does undo by itself is no end.
func TestOpenWhileTheServerIsAway(t *testing.T) {
	q, stop, start := restartable(t)
	stop()
	eventually(t, "the connection is lost", func() bool { return !q.Connected() })
	if q.Err() != nil {
		t.Error(q.Err())
	}
	start()
	eventually(t, "it is restored", q.Connected)
	q.Close()
	<-q.Closed()
	if err := q.Err(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// Users whose permission ends, or who are refused for a while, connect again when they may.
func TestRefusedForAWhile(t *testing.T) {
	t.Parallel()
	s := serverOf(t, `jetstream {}; authorization { users: [{user: u, password: u}] }`)
	q := connectAs(t, Config{URL: strings.Replace(s.ClientURL(), "//", "//u:u@", 1)})
	s.reload(t, func(o *server.Options) { o.Users = []*server.User{{Username: "u", Password: "other"}} })
	eventually(t, "the connection is lost", func() bool { return !q.Connected() })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // some attempts
	defer cancel()
	select {
	case <-q.Closed():
		t.Fatalf("closed for good: %v", q.Err())
	case <-ctx.Done():
	}
	s.reload(t, func(o *server.Options) { o.Users = []*server.User{{Username: "u", Password: "u"}} })
	eventually(t, "it is restored", q.Connected)
}
