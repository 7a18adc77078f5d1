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

// lookAgain is how long a NOTIFY_LATER that is full up to its brim is taken to be so.
const lookAgain = 500 * time.Millisecond

// fill takes down what was found about NOTIFY_LATER itself, which drops the oldest for what is too much. What waits
// may fill it but for an eighth, and what is due at once, such as a job that somebody may have deferred already,
// but for a sixteenth. Of what is left each worker takes an eighth before it looks again, because others add to it too.
func (r *room) fill(maxBytes int64, stored uint64) {
	r.limit = max(0, maxBytes)
	left := r.limit - int64(stored) - r.granted
	r.spare, r.spareNow = max(0, left-r.limit/8)/8, max(0, left-r.limit/16)/8
}

// grant takes down that so many bytes are to be written. Called with room.mu held.
func (r *room) grant(size int64) {
	r.bytes, r.spare, r.spareNow = r.bytes-size, max(0, r.spare-size), max(0, r.spareNow-size)
	r.granted += size
}

// written takes down that so many bytes are not on their way any more: who looks finds them.
func (r *room) written(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.granted -= size
}

// roomForTried says where a job can wait of which something is known, and counts it. That belongs in NOTIFY_LATER,
// whatever the bounds of its project, but not in the place of what waits there already.
func (j *Jobs) roomForTried(ctx context.Context, d Deferral) (where int, err error) {
	r := &j.room
	r.mu.Lock()
	defer r.mu.Unlock()
	fits, err := r.takes(ctx, j.q, d.size(), !d.At.After(j.q.Now()))
	switch {
	case err != nil:
		return nowhere, err
	case fits:
		return inLater, nil
	case d.Lease.Stream == LaterStream && d.Lease.Letter == nil:
		return inPlace, nil
	case j.mayGiveBack(d.Lease) && d.Lease.recoverable(d) && !r.crowded[d.Lease.Stream]:
		return inStream, nil
	}
	return nowhere, nil
}

// claim makes sure that NOTIFY_LATER has room for so many bytes that are due at once, until they are written.
func (j *Jobs) claim(ctx context.Context, size int64) error {
	j.room.mu.Lock()
	defer j.room.mu.Unlock()
	fits, err := j.room.takes(ctx, j.q, size, true)
	if err == nil && !fits {
		err = errBrim
	}
	return err
}

// takes reports whether NOTIFY_LATER has room for so many bytes, and counts them. Called with room.mu held.
func (r *room) takes(ctx context.Context, q *Queue, size int64, due bool) (bool, error) {
	spare, since := &r.spare, time.Since(r.looked)
	if due {
		spare = &r.spareNow
	}
	if since > lookRoom || r.limit > 0 && size > *spare && (since > lookAgain || *spare > 0) {
		if err := r.look(ctx, q); err != nil {
			return false, err
		}
		if r.looked = time.Now(); size > *spare {
			*spare = 0
		}
	}
	if r.limit > 0 && size > *spare {
		return false, nil
	}
	r.grant(size)
	return true, nil
}

// deferInPlace defers jobs of NOTIFY_LATER while it is full, some at a time: they need room until they are acked.
func (j *Jobs) deferInPlace(ctx context.Context, deferrals []Deferral) error {
	j.room.inPlace.Lock()
	defer j.room.inPlace.Unlock()
	most := j.room.step()
	for len(deferrals) > 0 {
		n := 0
		for bytes := int64(0); n < len(deferrals) && (n == 0 || bytes+deferrals[n].size() <= most); n++ {
			bytes += deferrals[n].size()
		}
		if err := j.deferNow(ctx, deferrals[:n]); err != nil {
			return err
		}
		deferrals = deferrals[n:]
	}
	return nil
}

// step is how many bytes one worker may write to a full NOTIFY_LATER before what they replace is taken out.
func (r *room) step() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limit / 64
}

// recoverable reports whether the job may come back as it stands in its stream: nobody was told, and what is known
// of it can be found out again.
func (l *Lease) recoverable(d Deferral) bool {
	if l.Letter != nil || l.Invalid != nil {
		return true
	}
	return l.Stream != LaterStream && l.size == l.memory() && d.WovenIDs == nil && len(d.Letters) == 0 && len(d.History.Ambiguous) == 0
}

// size is about how many bytes of a stream the deferral takes.
func (d Deferral) size() int64 {
	n := 1024
	for _, letter := range d.Letters {
		n += 1024 + letter.memory()*4/3 // a payload is in base64
	}
	if d.WovenIDs == nil || len(d.WovenIDs) > 0 {
		n += len(d.Lease.Job.Message) + headersSize(d.Lease.Headers)
		for _, id := range d.Lease.Job.WovenIDs {
			n += len(id) + 3
		}
	}
	return int64(n)
}

// errBrim is why something is not published to NOTIFY_LATER: the server does not refuse what exceeds the max_bytes of
// that stream, but drops its oldest jobs.
var errBrim = fmt.Errorf("%w: %s would exceed its max_bytes, and drop jobs; try again when there is room, or raise it", ErrFull, LaterStream)

// laterFree is how many bytes may be replayed to NOTIFY_LATER, up to laterLimit. Without a max_bytes it is not limited.
func (q *Queue) laterFree(ctx context.Context) (free int64, err error) {
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
	return max(0, laterLimit(info.Config.MaxBytes)-int64(info.State.Bytes)), nil
}

// storedSize is about what messages take in a stream, in bytes.
func storedSize(msgs ...*nats.Msg) (n int64) {
	for _, m := range msgs {
		n += int64(len(m.Data) + len(m.Subject) + headersSize(m.Header) + 64)
	}
	return n
}
