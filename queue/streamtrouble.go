package queue

import (
	"context"
	"time"
)

// StreamTrouble is what an operator has to know of one stream.
type StreamTrouble struct {
	Stream string `json:"stream"`
	// Full is how full the stream is, from 0 to 1, if it is nearly full. A full stream takes nothing more.
	Full float64 `json:"full,omitzero"`
	// PausedFor is how many seconds longer the stream's consumer is paused. Zero: it is not.
	PausedFor float64 `json:"paused_for_seconds,omitzero"`
	// Unwritable says, in the operating system's words, why the server wrote nothing more to the stream, which it
	// does not try again until it is restarted. Empty: it can write, as far as is known.
	Unwritable string `json:"unwritable,omitempty"`
}

// nearlyFull is from when on a stream is said to be full. NOTIFY_LATER is never filled by more than seven eighths.
const nearlyFull = 0.85

// streamTroubles looks at all streams.
func (q *Queue) streamTroubles(ctx context.Context) (all []StreamTrouble, err error) {
	for _, want := range q.streamConfigs(InitConfig{}) {
		stream, err := q.js.Stream(ctx, want.Name)
		if err != nil {
			return nil, lookupError("stream "+want.Name, err)
		}
		info, t := stream.CachedInfo(), StreamTrouble{Stream: want.Name}
		for _, limit := range []struct {
			have uint64
			most int64
		}{{info.State.Bytes, info.Config.MaxBytes}, {info.State.Msgs, info.Config.MaxMsgs}} {
			if limit.most > 0 && float64(limit.have) >= nearlyFull*float64(limit.most) {
				t.Full = max(t.Full, float64(limit.have)/float64(limit.most))
			}
		}
		if want.Name != DeadStream {
			consumer, err := stream.Consumer(ctx, ConsumerName)
			if err != nil {
				return nil, lookupError("consumer "+ConsumerName+" of "+want.Name, err)
			}
			if c := consumer.CachedInfo(); c.Paused {
				t.PausedFor = max(c.PauseRemaining, time.Second).Seconds()
			}
		}
		if t.Unwritable = unwritable(ctx, stream); t.Full > 0 || t.PausedFor > 0 || t.Unwritable != "" {
			all = append(all, t)
		}
	}
	return all, nil
}
