package worker

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// task is a leased job and what is known of its recipients.
type task struct {
	lease    *queue.Lease
	open     int // recipients without an outcome
	attempts int // calls that had a recipient of this job in them, over all its leases
	lastErr  string
	// unreadable counts answers that may have meant delivery and could not be read.
	unreadable int
	failures   []failure
	// gone is set when the lease lapsed: somebody else does the job, nothing is to be done here.
	gone bool
	// back is when the job comes back, if it is to be deferred, and rest who is then to be called
	// for; nil: everybody.
	back time.Time
	rest []string
}

// failure is the outcome of some recipients of a task.
type failure struct {
	reason queue.Reason
	ids    []string
	detail string
	status int
}

func newTask(l *queue.Lease) *task {
	return &task{lease: l, open: len(l.Job.WovenIDs), attempts: l.Attempts, lastErr: l.LastError}
}

// fail records an outcome of one recipient.
func (t *task) fail(id string, reason queue.Reason, detail string, status int) {
	t.open--
	for i := range t.failures {
		if f := &t.failures[i]; f.reason == reason && f.detail == detail && f.status == status {
			f.ids = append(f.ids, id)
			return
		}
	}
	t.failures = append(t.failures, failure{reason, []string{id}, detail, status})
}

// touched tells whether anything is known yet; what is untouched can simply be given back.
func (t *task) touched() bool { return t.open < len(t.lease.Job.WovenIDs) || len(t.failures) > 0 }

// remaining are the recipients without an outcome, of a task that is in no batch any more.
func (t *task) remaining() []string {
	if t.rest != nil {
		return t.rest
	}
	return t.lease.Job.WovenIDs
}

// letters are the dead letters of what failed, one for each reason.
func (t *task) letters(now time.Time) []queue.DeadLetter {
	var letters []queue.DeadLetter
next:
	for _, f := range t.failures {
		entry := queue.Failure{WovenIDs: f.ids, Detail: f.detail, Status: f.status}
		for i := range letters {
			if l := &letters[i]; l.Reason == f.reason {
				l.WovenIDs = append(l.WovenIDs, f.ids...)
				l.Failures = append(l.Failures, entry)
				continue next
			}
		}
		letters = append(letters, t.letter(now, f.reason, append([]string(nil), f.ids...), entry))
	}
	return letters
}

func (t *task) letter(now time.Time, reason queue.Reason, ids []string, entry queue.Failure) queue.DeadLetter {
	l := t.lease
	letter := queue.DeadLetter{
		JobID: l.Job.ID, ProjectID: l.Job.ProjectID, Priority: l.Priority, Message: l.Job.Message,
		WovenIDs: ids, Reason: reason, Failures: []queue.Failure{entry}, Attempts: t.attempts,
		PublishedAt: l.PublishedAt, FailedAt: now, Replays: l.Replays, Where: l.Where(),
	}
	if l.Invalid != nil {
		letter.ProjectID, letter.Raw = queue.UnknownProject, l.Raw
		letter.JobID, letter.Message, letter.WovenIDs = "", "", nil
	}
	return letter
}

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
	key   key
	parts []part // a stack: the next call's part is the last
	// taken holds who is in the batch while it takes jobs: no recipient stands twice in a call.
	taken map[string]struct{}
	// linger is when the batch may go although nobody joined it; closed says that it takes no
	// more jobs.
	linger time.Time
	closed bool

	size     int // recipients at the start
	accepted bool
	refusals int
	refusal  int // status of the refusals, -1 when they differ
}

func newBatch(k key, linger time.Time) *batch {
	return &batch{key: k, linger: linger, parts: make([]part, 1), taken: map[string]struct{}{}}
}

// fits tells whether the task can join: there is room, and none of its recipients is in already.
// Two jobs with the same text for the same person are two notifications, so they go in two calls.
func (b *batch) fits(t *task, limit int) bool {
	if b.size+len(t.lease.Job.WovenIDs) > limit {
		return false
	}
	for _, id := range t.lease.Job.WovenIDs {
		if _, in := b.taken[id]; in {
			return false
		}
	}
	return true
}

func (b *batch) add(t *task) {
	p := &b.parts[0]
	for _, id := range t.lease.Job.WovenIDs {
		b.taken[id] = struct{}{}
		p.recipients = append(p.recipients, recipient{t, id})
	}
	b.size += len(t.lease.Job.WovenIDs)
}

// close ends the time in which jobs may join.
func (b *batch) close() {
	b.closed = true
	b.taken = nil
}

// cost is how many recipients the next call tells.
func (b *batch) cost() int {
	if len(b.parts) == 0 {
		return 0
	}
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

// prepare makes the last part what the next call is to tell: without whom it is too late for, and
// halved if it is known to be at fault. It returns the tasks that were finished by that, and false
// when nothing is left to call.
func (b *batch) prepare(now time.Time) (finished []*task, callable bool) {
	for len(b.parts) > 0 {
		last := &b.parts[len(b.parts)-1]
		kept := last.recipients[:0]
		for _, r := range last.recipients {
			switch l := r.task.lease; {
			case r.task.gone:
			case l.Lapsed(now):
				r.task.gone = true
				finished = append(finished, r.task)
			case !l.Job.ExpiresAt.IsZero() && !now.Before(l.Job.ExpiresAt):
				r.task.fail(r.id, queue.Expired, r.task.expiry(), 0)
				if r.task.open == 0 {
					finished = append(finished, r.task)
				}
			default:
				kept = append(kept, r)
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

// result is what one call came to.
type result struct {
	finished  []*task // every recipient has an outcome
	jobs      int
	delivered int
	err       *chatapi.Error // what the call ended with, nil when it was accepted
	unknown   int
	status    int
}

// maxUnreadable is how often a job is called for when the API answers 200 but cannot be
// understood. The recipients were told probably each time, so this also bounds the repeats.
const maxUnreadable = 3

// record takes down what the call of the last part came to. What is to go again stays in parts.
func (b *batch) record(now time.Time, retryFor time.Duration, report chatapi.Report, err error) result {
	p := b.parts[len(b.parts)-1]
	res := result{status: report.Status}
	b.count(p, &res)
	if err == nil {
		b.drop()
		b.accepted = true
		if p.first && len(b.parts) > 0 {
			b.parts[len(b.parts)-1].suspect = true
		}
		res.unknown = len(report.Unknown)
		b.deliver(p, report, &res)
		return res
	}
	res.err = apiError(err)
	res.status = res.err.Status
	detail := res.err.Error()
	for _, r := range p.recipients {
		r.task.lastErr = detail
	}
	switch {
	case res.err.Kind == chatapi.Refused:
		b.refuse(p, res.err, &res)
	case res.err.Kind == chatapi.Unreadable && res.err.MayBeDelivered:
		seen := (*task)(nil)
		for _, r := range p.recipients {
			if r.task != seen { // recipients of a task stand together
				r.task.unreadable++
				seen = r.task
			}
		}
		b.giveUp(&res, queue.Ambiguous, func(t *task) bool { return t.unreadable >= maxUnreadable })
		fallthrough
	default:
		b.giveUp(&res, queue.Exhausted, func(t *task) bool {
			return !now.Before(t.lease.PublishedAt.Add(retryFor))
		})
	}
	return res
}

// count adds an attempt to each task in the part.
func (b *batch) count(p part, res *result) {
	var seen *task
	for _, r := range p.recipients {
		if r.task != seen { // recipients of a task stand together
			r.task.attempts++
			res.jobs++
			seen = r.task
		}
	}
}

func (b *batch) drop() { b.parts = b.parts[:len(b.parts)-1] }

// deliver gives every recipient of an accepted part its outcome.
func (b *batch) deliver(p part, report chatapi.Report, res *result) {
	var rejected map[string]string
	for _, f := range report.Failures {
		if rejected == nil {
			rejected = make(map[string]string, len(f.WovenIDs))
		}
		for _, id := range f.WovenIDs {
			rejected[id] = f.Reason
		}
	}
	for _, r := range p.recipients {
		if reason, bad := rejected[r.id]; bad {
			r.task.fail(r.id, queue.Rejected, shorten(reason), report.Status)
		} else {
			r.task.open--
			res.delivered++
		}
		if r.task.open == 0 {
			res.finished = append(res.finished, r.task)
		}
	}
}

// refuse halves a refused part until those at fault stand alone. When nothing of the batch was
// ever accepted and the refusals are alike, the message is at fault, and no more calls are spent.
func (b *batch) refuse(p part, err *chatapi.Error, res *result) {
	switch {
	case b.refusals == 0:
		b.refusal = err.Status
	case b.refusal != err.Status:
		b.refusal = -1
	}
	b.refusals++
	if len(p.recipients) == 1 {
		b.drop()
		b.bury(p, queue.Refused, err.Error(), err.Status, res)
		if b.hopeless() {
			for len(b.parts) > 0 {
				rest := b.parts[len(b.parts)-1]
				b.drop()
				b.bury(rest, queue.Refused, fmt.Sprintf("not called for: the message was refused for every one of %d others: %s", b.refusals, err.Error()), err.Status, res)
			}
		}
		return
	}
	b.halve()
}

// hopeless tells whether the message itself is refused, whoever it is for. Halving takes log2(n)
// refusals to reach the first lone recipient and as many to reach another, so twice that and a
// few more, all alike and nothing accepted, is more than a few bad recipients could explain: the
// halves are taken alternately, so that neighbours do not fall into the same one.
func (b *batch) hopeless() bool {
	return !b.accepted && b.refusal >= 0 && b.refusals >= 2*bits.Len(uint(b.size))+4
}

// halve replaces the last part by its two halves.
func (b *batch) halve() {
	p := b.parts[len(b.parts)-1]
	b.drop()
	var even, odd []recipient
	for i, r := range p.recipients {
		if i%2 == 0 {
			even = append(even, r)
		} else {
			odd = append(odd, r)
		}
	}
	b.parts = append(b.parts, part{recipients: odd}, part{recipients: even, first: true})
}

// giveUp gives the recipients in the last part whose task meets the condition their outcome.
func (b *batch) giveUp(res *result, reason queue.Reason, condition func(*task) bool) {
	if len(b.parts) == 0 {
		return
	}
	last := &b.parts[len(b.parts)-1]
	kept := last.recipients[:0]
	var given part
	for _, r := range last.recipients {
		if condition(r.task) {
			given.recipients = append(given.recipients, r)
		} else {
			kept = append(kept, r)
		}
	}
	last.recipients = kept
	b.bury(given, reason, res.err.Error(), res.err.Status, res)
	if len(kept) == 0 {
		b.drop()
	}
}

func (b *batch) bury(p part, reason queue.Reason, detail string, status int, res *result) {
	for _, r := range p.recipients {
		r.task.fail(r.id, reason, shorten(detail), status)
		if r.task.open == 0 {
			res.finished = append(res.finished, r.task)
		}
	}
}

// shorten bounds what a letter says of one failure, so that many of them fit into one.
func shorten(detail string) string {
	const limit = 500
	if len(detail) <= limit {
		return detail
	}
	return string([]rune(detail[:limit])) // a rune that was cut shows as such
}

// apiError gives every failure the type that decisions need.
func apiError(err error) *chatapi.Error {
	var api *chatapi.Error
	if errors.As(err, &api) {
		return api
	}
	return &chatapi.Error{Kind: chatapi.Temporary, Err: err, Detail: err.Error()}
}
