package worker

import (
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// recipient is one person in a call, on account of one task.
type recipient struct {
	task *task
	id   string
}

// part is what goes into one call.
type part struct {
	recipients []recipient
	// first says that the part beneath in the stack is the other half of a refused one, and
	// suspect that its other half was accepted, so that the cause must be in here.
	first, suspect bool
}

// key says which jobs may share a call.
type key struct {
	priority queue.Priority
	project  string
	message  string
}

// batch is the jobs of one key that share a call, and the work list of the calls still to be made
// for them: one at first, more when a refused call is halved.
type batch struct {
	key    key
	hash   uint64 // of the key; this and beside are kinds'
	beside *batch
	parts  []part // a stack: the next call's part is the last
	// taken holds who is in the batch while it takes jobs, once they are more than a few: no
	// recipient stands twice in a call.
	taken map[string]struct{}
	// begun is when the batch took its first job, or came back after a failed call; joined when it
	// took its last one. pressed says that it may go although more jobs would come, because the
	// window is needed, and closed that it takes no more.
	begun, joined   time.Time
	again           bool // lately there was a batch of the same key
	pressed, closed bool

	jobs     int  // tasks at the start
	size     int  // recipients at the start
	probe    bool // its call probes a closed gate
	accepted bool
	refusals int
	refusal  int // status of the refusals, -1 when they differ
	alone    int // recipients refused when they stood alone

	// Most batches have one part, and where messages are distinct one recipient: here they are.
	one  [1]part
	sole [1]recipient
}

func newBatch(k key, now time.Time) *batch {
	b := &batch{key: k, begun: now}
	b.one[0].recipients, b.parts = b.sole[:0], b.one[:]
	return b
}

// add takes the task in and tells whether it did: if there is room, and none of its recipients is in
// already. Two jobs with the same text for the same person are two notifications, so they go in two
// calls. A batch that did not take a task in is to be closed.
func (b *batch) add(now time.Time, t *task, limit int, spares *spares) bool {
	if ids := t.lease.Job.WovenIDs; b.jobs > 0 {
		if b.size+len(ids) > limit {
			return false
		}
		const few = 16 // up to here comparing costs less than hashing
		if b.taken == nil && b.size+len(ids) > few {
			b.taken = spares.get()
			for _, r := range b.parts[0].recipients {
				b.taken[r.id] = struct{}{}
			}
		}
		for _, id := range ids {
			if b.has(id) {
				return false
			}
		}
	}
	p := &b.parts[0]
	for _, id := range t.lease.Job.WovenIDs {
		p.recipients = append(p.recipients, recipient{t, id})
	}
	b.joined = now
	b.size += len(t.lease.Job.WovenIDs)
	b.jobs++
	return true
}

// has tells whether a recipient is in the batch; from then on he is, where taken is kept.
func (b *batch) has(id string) bool {
	if b.taken == nil {
		return slices.ContainsFunc(b.parts[0].recipients, func(r recipient) bool { return r.id == id })
	}
	before := len(b.taken)
	b.taken[id] = struct{}{}
	return len(b.taken) == before
}

// close ends the time in which jobs may join.
func (b *batch) close(spares *spares) {
	b.closed = true
	spares.put(b.taken)
	b.taken = nil
}

// spares are empty maps that were grown before, for the batches to come.
type spares []map[string]struct{}

func (s *spares) get() map[string]struct{} {
	if n := len(*s); n > 0 {
		m := (*s)[n-1]
		*s = (*s)[:n-1]
		return m
	}
	return map[string]struct{}{}
}

func (s *spares) put(m map[string]struct{}) {
	const most = 64
	if m != nil && len(*s) < most {
		clear(m)
		*s = append(*s, m)
	}
}

// cost is how many recipients the next call tells.
func (b *batch) cost() int {
	return len(b.parts[len(b.parts)-1].recipients)
}

// tasks are those with a recipient in any part and a lease that did not lapse. Each is told who
// of its recipients is still to be called for.
func (b *batch) tasks() []*task {
	var all []*task
	for _, p := range b.parts {
		for _, r := range p.recipients {
			t := r.task
			if t.gone {
				continue
			}
			if t.rest == nil {
				all = append(all, t)
			}
			t.rest = append(t.rest, r.id)
		}
	}
	return all
}

// called are the tasks with a recipient in the next call.
func (b *batch) called() []*task {
	var all []*task
	for _, r := range b.parts[len(b.parts)-1].recipients {
		if len(all) == 0 || r.task != all[len(all)-1] { // recipients of a task stand together
			all = append(all, r.task)
		}
	}
	return all
}

// prepare makes the last part what the next call is to tell: without whom it is too late for, and
// halved if it is known to be at fault. It returns the tasks that were finished by that, and false
// when nothing is left to call.
func (b *batch) prepare(now time.Time) (finished []*task, callable bool) {
	for len(b.parts) > 0 {
		last := &b.parts[len(b.parts)-1]
		finished = append(finished, b.lapse(now)...)
		kept := last.recipients[:0]
		for _, r := range last.recipients {
			expires := r.task.lease.Job.ExpiresAt
			if expires.IsZero() || now.Before(expires) {
				kept = append(kept, r)
				continue
			}
			r.task.fail(r.id, queue.Expired, r.task.expiry(), 0)
			if r.task.open == 0 {
				finished = append(finished, r.task)
			}
		}
		last.recipients = kept
		switch {
		case len(kept) == 0:
			b.parts = b.parts[:len(b.parts)-1]
		case last.suspect && len(kept) > 1:
			b.halve()
		default:
			return finished, true
		}
	}
	return finished, false
}

// lapse takes those out of the last part whose lease lapsed, and returns the tasks for which that
// was found now.
func (b *batch) lapse(now time.Time) (gone []*task) {
	last := &b.parts[len(b.parts)-1]
	last.recipients = slices.DeleteFunc(last.recipients, func(r recipient) bool {
		if !r.task.gone && r.task.lease.Lapsed(now) {
			r.task.gone = true
			gone = append(gone, r.task)
		}
		return r.task.gone
	})
	return gone
}

func (t *task) expiry() string {
	detail := "expires_at passed before the recipient was told"
	if t.lastErr != "" {
		detail += "; last error: " + t.lastErr
	}
	return detail
}

// notification is the next call.
func (b *batch) notification() chatapi.Notification {
	p := b.parts[len(b.parts)-1]
	ids := make([]string, len(p.recipients))
	for i, r := range p.recipients {
		ids[i] = r.id
	}
	return chatapi.Notification{ProjectID: b.key.project, Message: b.key.message, WovenIDs: ids}
}
