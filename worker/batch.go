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

// part is what goes into one call. Recipients of a task stand together in it.
type part struct {
	recipients []recipient
	// first says that the part beneath in the stack is the other half of a refused one, and
	// suspect that its other half was accepted, so that the cause must be in here.
	first, suspect bool
	trouble        *trouble // nil: none yet
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
	key   key
	hash  uint64 // of the key
	flow  *flow  // of its project and priority
	parts []part // a stack: the next call's part is the last
	// taken holds who is in the batch while it takes jobs, once they are more than a few: no
	// recipient stands twice in a call.
	taken map[string]struct{}
	// begun is when the batch took its first job, or may go again after a failed call; joined when it
	// took its last one. mustFlush says that it may go although more jobs would come, because the
	// window is needed, and sealed that it takes no more.
	begun, joined     time.Time
	again             bool // lately there was a batch of the same key
	mustFlush, sealed bool

	amount        // of the tasks at the start
	size   int    // recipients at the start
	permit permit // of its call in flight
	// How its next failure is to be understood; see judge.
	alone, maybeAlone, probesSize bool
	past                          *past // nil: there is none

	// Most batches have one part, and where messages are distinct one recipient: here they are.
	one  [1]part
	sole [1]recipient
}

func newBatch(k key, now time.Time) *batch {
	b := &batch{key: k, begun: now}
	b.one[0].recipients, b.parts = b.sole[:0], b.one[:]
	return b
}

// add takes the task in and reports whether it did: if there is room, and none of its recipients is in
// already. Two jobs with the same text for the same person are two notifications, so they go in two
// calls. A batch that did not take a task in is to be sealed.
func (b *batch) add(now time.Time, t *task, limit int, sets *setPool) bool {
	ids := t.callable()
	if b.jobs > 0 && b.size+len(ids) > limit {
		return false
	}
	const few = 16 // up to here comparing costs less than hashing
	if b.taken == nil && b.jobs > 0 && b.size+len(ids) > few {
		b.taken = sets.get()
		for _, r := range b.parts[0].recipients {
			b.taken[r.id] = struct{}{}
		}
	}
	p := &b.parts[0]
	before := len(p.recipients)
	for _, id := range ids {
		if !b.take(id, p.recipients[:before]) {
			p.recipients = p.recipients[:before]
			return false
		}
		p.recipients = append(p.recipients, recipient{t, id})
	}
	if n := t.lease.Suspected; n > 0 {
		p.meet().suspected = max(p.met().suspected, n)
	}
	if size := t.lease.CallSize; size > 0 && (b.seen().limit == 0 || size < b.seen().limit) {
		b.note().limit = size
	}
	b.joined = now
	b.size += len(ids)
	b.amount = b.plus(t.amount())
	return true
}

// take marks a recipient as taken, and reports whether it was free: in taken, or among the few others.
func (b *batch) take(id string, others []recipient) bool {
	if b.taken != nil {
		before := len(b.taken)
		b.taken[id] = struct{}{}
		return len(b.taken) > before
	}
	return !slices.ContainsFunc(others, func(r recipient) bool { return r.id == id })
}

// seal ends the time in which jobs may join.
func (b *batch) seal(sets *setPool) {
	b.sealed = true
	sets.put(b.taken)
	b.taken = nil
}

// next is the part of the next call.
func (b *batch) next() *part { return &b.parts[len(b.parts)-1] }

func (b *batch) drop() { b.parts = b.parts[:len(b.parts)-1] }

// cost is how many recipients the next call has.
func (b *batch) cost() int { return len(b.next().recipients) }

// stream is where the first job of the next call stands.
func (b *batch) stream() int { return streamOf(b.next().recipients[0].task.lease) }

// tasks are those with a recipient in a part.
func (p *part) tasks() []*task {
	var all []*task
	for _, r := range p.recipients {
		if len(all) == 0 || r.task != all[len(all)-1] { // recipients of a task stand together
			all = append(all, r.task)
		}
	}
	return all
}

// dissolve takes the batch apart, and returns the tasks whose lease did not lapse: each with the
// recipients that are still to be called for in rest, and what is known of them in its history.
func (b *batch) dissolve() []*task {
	var all []*task
	size := 0
	for _, p := range b.parts {
		size = max(size, len(p.recipients))
	}
	if limit := b.seen().limit; limit > 0 || len(b.parts) == 1 {
		size = min(size, limit)
	}
	for _, p := range b.parts {
		met := p.met()
		for _, r := range p.recipients {
			t := r.task
			if t.state == lost {
				continue
			}
			if t.rest == nil {
				all = append(all, t)
				t.lease.Suspected, t.lease.CallSize = 0, size
				t.back = met.notBefore
			}
			t.back = earlier(t.back, met.notBefore)
			t.rest = append(t.rest, r.id)
			t.lease.Suspected = max(t.lease.Suspected, met.suspected)
			t.countTries(r.id, met.ambiguous)
		}
	}
	for _, t := range all {
		if t.over != nil { // nobody was called for: the whole job comes back
			t.rest = nil
		} else {
			t.remember()
		}
	}
	b.parts = nil
	return all
}

// prepare makes the last part what the next call is to deliver, to at most so many: without whom it is
// too late for, and halved if it is known to be at fault. Refused sets the size from which calls are
// refused for it; 0: none. It returns the tasks that ended by that, and false when nothing is left to call,
// or not yet.
func (b *batch) prepare(now time.Time, most, refused int) (ended []*task, callable bool) {
	seen := b.seen()
	if seen.limit > 0 {
		most = min(most, seen.limit)
	}
	forSize := refused > 0 && seen.leastRefused >= refused
	for len(b.parts) > 0 {
		last := b.next()
		ended = append(ended, last.dropLapsed(now)...)
		kept := last.recipients[:0]
		for _, r := range last.recipients {
			expires := r.task.lease.Job.ExpiresAt
			if expires.IsZero() || now.Before(expires) {
				kept = append(kept, r)
				continue
			}
			r.task.failOver(queue.Expired, r.task.expiry())
			if r.task.fail(r.id, queue.Expired, r.task.expiry(), 0) {
				ended = append(ended, r.task)
			}
		}
		last.recipients = kept
		switch {
		case len(kept) == 0:
			if b.drop(); len(b.parts) > 0 && b.next().met().notBefore.After(now) {
				return ended, false
			}
		case len(kept) > most:
			b.cut(most)
			return ended, true
		case last.suspect && len(kept) > 1 && !forSize:
			b.halve()
		default:
			return ended, true
		}
	}
	return ended, false
}

// dropLapsed takes those out of the part whose lease lapsed, and returns the tasks for which that
// was found now.
func (p *part) dropLapsed(now time.Time) (found []*task) {
	p.recipients = slices.DeleteFunc(p.recipients, func(r recipient) bool {
		if r.task.state != lost && r.task.loseIfLapsed(now) {
			found = append(found, r.task)
		}
		return r.task.state == lost
	})
	return found
}

// notification is the next call.
func (b *batch) notification() chatapi.Notification {
	ids := make([]string, b.cost())
	for i, r := range b.next().recipients {
		ids[i] = r.id
	}
	return chatapi.Notification{ProjectID: b.key.project, Message: b.key.message, WovenIDs: ids}
}
