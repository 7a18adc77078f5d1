package queue

import (
	"context"
	"math"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// diskErrors are the operating system's words for a disk that takes no more.
var diskErrors = []string{"no space left on device", "disk quota exceeded", "file too large", "read-only file system", "input/output error"}

// unwritable says why the server cannot write to a stream; empty: it can, as far as is known. After one write
// that failed, nats-server refuses every later one to that stream until it is restarted, however much room
// there is by then: it answers no publication at all, while everything else goes on and shows no error. It does
// say so, before it looks any further, to whoever deletes a message; one with the last number of all does not
// exist. Of several replicas, the one that cannot write gives up its lead, and another goes on.
func unwritable(ctx context.Context, stream jetstream.Stream) string {
	if stream.CachedInfo().Config.Replicas > 1 {
		return ""
	}
	err := stream.DeleteMsg(ctx, math.MaxUint64)
	if err == nil || ctx.Err() != nil {
		return ""
	}
	for _, words := range diskErrors {
		if strings.Contains(err.Error(), words) {
			return words
		}
	}
	return ""
}
