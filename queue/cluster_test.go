package queue

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/queue/broker"
)

// cluster gives what starts the servers of a cluster of three, one by each call.
func cluster(t *testing.T) (start func() *broker.Server) {
	t.Helper()
	ports := make([]int, 3)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	n := 0
	return func() *broker.Server {
		own := append([]int{ports[n]}, ports[:n]...)
		own = append(own, ports[n+1:]...)
		n++
		return newServer(t, broker.Config{Name: fmt.Sprintf("s%d", n), Dir: t.TempDir(), ClusterPorts: own, SyncInterval: time.Hour})
	}
}

// At the very start of a cluster no leader has been elected, and its other servers are not known yet.
func TestInitWaitsForTheCluster(t *testing.T) {
	t.Parallel()
	start := cluster(t)
	q := connect(t, start())
	waited := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		_, err := q.Init(t.Context(), InitConfig{Replicas: 3, Patience: time.Minute, Progress: func(s string) { waited <- s }})
		done <- err
	}()
	t.Log(<-waited) // it says so while the cluster is one server
	start()
	start()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := q.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// While NOTIFY_LATER grows to three replicas, what comes due must fire all the same.
func TestSchedulesFireWhileReplicasGrow(t *testing.T) {
	t.Parallel()
	start := cluster(t)
	q := connect(t, start())
	start()
	start()
	if _, err := q.Init(t.Context(), InitConfig{Replicas: 3, Patience: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := q.js.DeleteStream(t.Context(), LaterStream); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Init(t.Context(), InitConfig{Patience: time.Minute}); err != nil { // with one replica
		t.Fatal(err)
	}
	const schedules = 500
	begin := time.Now()
	msgs := make([]*nats.Msg, schedules)
	for i := range msgs {
		msg := nats.NewMsg(laterPrefix + fmt.Sprintf("x.%d", i))
		msg.Data = []byte(`{}`)
		msg.Header.Set("Nats-Schedule", "@at "+begin.Add(time.Second+time.Duration(i)*30*time.Millisecond).UTC().Format(time.RFC3339Nano))
		msg.Header.Set("Nats-Schedule-Target", duePrefix+"normal."+projectA)
		msgs[i] = msg
	}
	if err := q.publishAll(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Init(t.Context(), InitConfig{Replicas: 3, Patience: time.Minute, Progress: func(s string) { t.Log(time.Since(begin).Round(time.Millisecond), s) }}); err != nil {
		t.Fatal(err)
	}
	stream, err := q.js.Stream(t.Context(), LaterStream)
	if err != nil {
		t.Fatal(err)
	}
	for due, ctx := 0, deadline(t); due < schedules; time.Sleep(100 * time.Millisecond) {
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(duePrefix+">"))
		if err != nil {
			t.Fatalf("%d of %d fired (%v)", due, schedules, err)
		}
		due = int(info.State.Subjects[duePrefix+"normal."+projectA])
	}
	for _, name := range []string{"NOTIFY_URGENT", "NOTIFY_NORMAL", "NOTIFY_BULK", DeadStream, LaterStream} {
		stream, err := q.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if state, all := replicaState(stream.CachedInfo()); !all {
			t.Errorf("%s: %s", name, state)
		}
	}
}
