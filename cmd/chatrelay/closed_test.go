package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

// max_payload is lowered by a reload while a letter that is larger is to be written: the server closes the
// connection for good. The worker ends with 1 and says why; the next one accounts for everybody.
func TestWorkerEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	opts := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 4 << 20,
		SyncInterval: time.Hour, // a sync while a stream is being created is a data race in nats-server 2.15.2
		NoSigs:       true, NoLog: true,
	}
	nats, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server is not ready")
	}
	s := connectSystem(t, chatapitest.Config{}, nats.ClientURL(), t.TempDir())
	if _, err := s.q.Init(t.Context(), queue.InitConfig{}); err != nil {
		t.Fatal(err)
	}
	reload := func(maxPayload int32) {
		changed := *opts
		changed.Port, changed.MaxPayload = nats.Addr().(*net.TCPAddr).Port, maxPayload
		if err := nats.ReloadOptions(&changed); err != nil {
			t.Fatal(err)
		}
	}
	w := s.worker()
	_, err = s.q.Publisher(queue.PublisherConfig{}).Publish(t.Context(), queue.Normal, queue.Job{
		ID: "large", ProjectID: "0f8fad5b-d9cb-469f-a165-70867728950e", Message: strings.Repeat("x", 16<<10),
		WovenIDs: []string{"unknown-1"}, DeliverAt: time.Now().Add(2 * time.Second), // after the reload
	})
	if err != nil {
		t.Fatal(err)
	}
	reload(8 << 10)
	begun := time.Now()
	if code := s.ended(w); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	t.Logf("ended after %v", time.Since(begun))
	said := strings.TrimSpace(w.stderr.String())
	last := said[strings.LastIndexByte(said, '\n')+1:]
	for _, want := range []string{"closed the connection for good", "Maximum Payload Violation", "start it again"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last line lacks %q: %s", want, last)
		}
	}
	reload(4 << 20)
	s.worker()
	s.eventually(patience, "the letter", func() bool { return len(s.letters()) == 1 })
	s.drained(patience)
}
