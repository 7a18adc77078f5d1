package ops_test

import (
	"os"

	"github.com/chatrelay/chatrelay/ops"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// startServer starts a NATS server for the example.
func startServer() (url string, stop func()) {
	dir, err := os.MkdirTemp("", "ops-")
	if err != nil {
		panic(err)
	}
	server, err := ops.StartBroker(broker.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	return server.URL(), func() {
		server.Stop()
		_ = os.RemoveAll(dir)
	}
}
