package ops

import (
	"time"

	"github.com/chatrelay/chatrelay/queue/broker"
)

// StartBroker runs a server for tests and examples, in their process. No test lasts as long as its sync
// interval: nats-server 2.15.2 starts the timer of a new stream's file store without its lock
// (setSyncTimer), so that with 100 ms a server that is slow for half of that is a data race, which the
// race detector would report as a failure of ours.
func StartBroker(cfg broker.Config) (*broker.Server, error) {
	cfg.SyncInterval = time.Hour
	return broker.Start(cfg)
}
