package queue

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// parts splits the job into jobs of at most limit recipients, all with the same id.
func (j Job) parts(limit int) []Job {
	if limit <= 0 || len(j.WovenIDs) <= limit {
		return []Job{j}
	}
	parts := make([]Job, 0, (len(j.WovenIDs)+limit-1)/limit)
	for rest := j.WovenIDs; len(rest) > 0; {
		n := min(limit, len(rest))
		part := j
		part.WovenIDs = rest[:n:n]
		parts = append(parts, part)
		rest = rest[n:]
	}
	return parts
}

// headerRoom is more than the headers take that the publisher itself sets.
const headerRoom = 512

// chunkSize bounds a published part in bytes. It fits beside all headers into the job streams of a server
// with the usual max_payload of 1 MiB, so that the parts of a job are the same on every server, whatever
// its headers are: published again, they are recognized.
const chunkSize = 360 << 10

// chunk is the JSON form of a job with some of its recipients.
type chunk struct {
	data         []byte
	first, count int // of the recipients
}

// chunks encodes the job in chunks of at most size bytes; a chunk with a single recipient may be larger.
func (j Job) chunks(size int) (all []chunk, err error) {
	first := 0
	var fit func(Job) error
	fit = func(part Job) error {
		data, err := part.encode()
		if err != nil {
			return err
		}
		n := len(part.WovenIDs)
		if len(data) <= size || n == 1 {
			all = append(all, chunk{data, first, n})
			first += n
			return nil
		}
		for _, half := range part.parts((n + 1) / 2) {
			if err := fit(half); err != nil {
				return err
			}
		}
		return nil
	}
	return all, fit(j)
}

// pieceSize is how many recipients, a multiple of the limit unless that is more than there are, each of the jobs has
// into which one is split whose message and headers each of them repeats.
func (j Job) pieceSize(limit, headers int) int {
	ids := 0
	for _, id := range j.WovenIDs {
		ids += len(id) + 3 // in JSON
	}
	calls := (len(j.WovenIDs) + limit - 1) / limit
	pieces := max(1, min(calls, ids/(len(j.Message)+headers+headerRoom)))
	return (calls + pieces - 1) / pieces * limit
}

// Split implements [Holder]: what exceeds the limit is published as due jobs, which are split again when their turn
// comes if need be. They are as many as take at most twice the bytes of one: one, where the message is long beside the
// recipients. So a large job takes no more than twice its bytes, and no more of it is stored twice than there are
// calls under way for it. They go to NOTIFY_LATER because a stream full of large jobs could not take the rest of any. Of
// a job that a worker deferred before it died nothing is split off: either the rest is a job already, or it was
// deferred with the others.
func (j *Jobs) Split(ctx context.Context, l *Lease, limit int) error {
	if l.Redelivered {
		if deferred, err := j.q.deferredBefore(ctx, l); deferred || err != nil {
			return err
		}
	}
	rest, first := l.Job, limit
	rest.WovenIDs = l.Job.WovenIDs[limit:]
	var msgs []*nats.Msg
	for _, part := range rest.parts(rest.pieceSize(limit, headersSize(l.Headers))) {
		history := l.History
		history.Ambiguous = triedOf(l.Ambiguous, first, len(part.WovenIDs))
		own, err := requeueMessages(l, part, history, fmt.Sprintf("part.%s.%d", l.Origin(), first), int(j.q.nc.MaxPayload()))
		if err != nil {
			return err
		}
		for _, p := range own {
			msgs = append(msgs, p.Msg)
		}
		first += len(part.WovenIDs)
	}
	size := storedSize(msgs...)
	err := j.claim(ctx, size)
	if err == nil {
		err = j.q.publishAll(ctx, msgs)
		j.room.written(size)
	}
	if err != nil {
		return fmt.Errorf("split %s: %w", l.Origin(), err)
	}
	return nil
}
