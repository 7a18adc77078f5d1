package queue

import (
	"context"
	"time"
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
	now, size := time.Now(), d.size()
	spare, since := &r.spare, now.Sub(r.looked)
	if !d.At.After(j.q.Now()) {
		spare = &r.spareNow
	}
	if since > lookRoom || r.limit > 0 && size > *spare && (since > lookAgain || *spare > 0) {
		if err := r.look(ctx, j.q); err != nil {
			return nowhere, err
		}
		if r.looked = now; size > *spare {
			*spare = 0
		}
	}
	switch {
	case r.limit <= 0 || size <= *spare:
	case d.Lease.Stream == LaterStream && d.Lease.Letter == nil:
		return inPlace, nil
	case j.mayGiveBack(d.Lease) && d.Lease.recoverable(d) && !r.crowded[d.Lease.Stream]:
		return inStream, nil
	default:
		return nowhere, nil
	}
	r.grant(size)
	return inLater, nil
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
