package queue

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// keep returns want with the limits that were not asked for as they are now.
func keep(cfg InitConfig, have, want jetstream.StreamConfig) jetstream.StreamConfig {
	if cfg.Replicas == 0 {
		want.Replicas = have.Replicas
	}
	asked := cfg.MaxBytes
	if want.Name == LaterStream {
		asked = cfg.LaterMaxBytes
	}
	if asked == 0 {
		want.MaxBytes = have.MaxBytes
	}
	if cfg.MaxQueued == 0 {
		want.MaxMsgsPerSubject, want.DiscardNewPerSubject = have.MaxMsgsPerSubject, have.DiscardNewPerSubject
	}
	return want
}

// raise returns the configuration with the wanted limits where these are higher, or nil if there is
// nothing to change. If a wanted limit is lower, lower says which.
func raise(have, want jetstream.StreamConfig) (raised *jetstream.StreamConfig, lower string) {
	cfg := have
	unlimited := func(n int64) int64 {
		if n <= 0 {
			return 1<<63 - 1
		}
		return n
	}
	switch h, w := unlimited(have.MaxBytes), unlimited(want.MaxBytes); {
	case w < h:
		return nil, fmt.Sprintf("its max_bytes is %d, asked for %d", have.MaxBytes, want.MaxBytes)
	case w > h:
		cfg.MaxBytes, raised = want.MaxBytes, &cfg
	}
	if want.Name != DeadStream && want.Name != LaterStream {
		switch h, w := unlimited(have.MaxMsgsPerSubject), unlimited(want.MaxMsgsPerSubject); {
		case w < h:
			return nil, fmt.Sprintf("its quota per project is %d, asked for %d", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
		case w > h:
			cfg.MaxMsgsPerSubject, cfg.DiscardNewPerSubject, raised = want.MaxMsgsPerSubject, want.DiscardNewPerSubject, &cfg
		}
	}
	if have.MaxMsgSize > 0 && want.MaxMsgSize > have.MaxMsgSize { // the server's max_payload was raised
		cfg.MaxMsgSize, raised = want.MaxMsgSize, &cfg
	}
	switch {
	case want.Replicas < have.Replicas:
		return nil, fmt.Sprintf("it has %d replicas, asked for %d", have.Replicas, want.Replicas)
	case want.Replicas > have.Replicas:
		cfg.Replicas, raised = want.Replicas, &cfg
	}
	return raised, ""
}
