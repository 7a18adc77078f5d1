package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errBrim is why something is not published to NOTIFY_LATER: the server does not refuse what exceeds the max_bytes of
// that stream, but drops its oldest jobs.
var errBrim = fmt.Errorf("%w: %s would exceed its max_bytes, and drop jobs; try again when there is room, or raise it", ErrFull, LaterStream)

// laterBrim is how many bytes NOTIFY_LATER may hold, of its max_bytes, before nothing at all is published to it. The
// rest is for what others publish at the same moment.
func laterBrim(maxBytes int64) int64 { return max(0, maxBytes) / 8 * 7 }

// laterFree is how many bytes may be published to NOTIFY_LATER, of whose max_bytes most may be used. Without a
// max_bytes it is not limited.
func (q *Queue) laterFree(ctx context.Context, most func(maxBytes int64) int64) (free int64, err error) {
	stream, err := q.js.Stream(ctx, LaterStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return math.MaxInt64, nil // publishing says so
	}
	if err != nil {
		return 0, lookupError("stream "+LaterStream, err)
	}
	info := stream.CachedInfo()
	if info.Config.MaxBytes <= 0 {
		return math.MaxInt64, nil
	}
	return max(0, most(info.Config.MaxBytes)-int64(info.State.Bytes)), nil
}

// laterFree is the same for a worker, which asks each time only while there is a max_bytes.
func (j *Jobs) laterFree(ctx context.Context) (int64, error) {
	j.room.mu.Lock()
	endless := time.Since(j.room.endless) < lookRoom
	j.room.mu.Unlock()
	if endless {
		return math.MaxInt64, nil
	}
	free, err := j.q.laterFree(ctx, laterBrim)
	if err == nil && free == math.MaxInt64 {
		j.room.mu.Lock()
		j.room.endless = time.Now()
		j.room.mu.Unlock()
	}
	return free, err
}

// storedSize is about what messages take in a stream, in bytes.
func storedSize(msgs ...*nats.Msg) (n int64) {
	for _, m := range msgs {
		n += int64(len(m.Data) + len(m.Subject) + headersSize(m.Header) + 64)
	}
	return n
}
