package worker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	// ending is set once a deferral or a split was tried: the lease can then end in no other way.
	ending bool
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

// end is when the task is no longer tried: a job that was to wait is tried as long as others.
func (t *task) end(retryFor time.Duration) time.Time {
	return later(t.lease.PublishedAt, t.lease.Job.DeliverAt).Add(retryFor)
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
	alone    int // recipients refused when they stood alone
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
	if res.err.Kind == chatapi.Refused {
		b.refuse(now, p, res.err, &res)
		return res
	}
	told := res.err.Kind == chatapi.Unreadable && res.err.MayBeDelivered // probably
	if told {
		var seen *task
		for _, r := range p.recipients {
			if r.task != seen { // recipients of a task stand together
				r.task.unreadable++
				seen = r.task
			}
		}
	}
	b.giveUp(&res, func(t *task) queue.Reason {
		switch {
		case told && t.unreadable >= maxUnreadable:
			return queue.Ambiguous
		case !now.Before(t.end(retryFor)):
			return queue.Exhausted
		}
		return ""
	})
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
func (b *batch) refuse(now time.Time, p part, err *chatapi.Error, res *result) {
	switch {
	case b.refusals == 0:
		b.refusal = err.Status
	case b.refusal != err.Status:
		b.refusal = -1
	}
	b.refusals++
	if len(p.recipients) == 1 {
		b.drop()
		b.alone++
		b.bury(p, queue.Refused, err.Error(), err.Status, res)
		for b.hopeless() && len(b.parts) > 0 {
			res.finished = append(res.finished, b.lapse(now)...)
			rest := b.parts[len(b.parts)-1]
			b.drop()
			b.bury(rest, queue.Refused, fmt.Sprintf("not called for: the message was refused for every one of %d others: %s", b.alone, err.Error()), err.Status, res)
		}
		return
	}
	b.halve()
}

// enoughAlone is how many recipients, taken at random, must be refused one by one before the
// message is held to be at fault. Were half of all recipients bad, chance would pick only such
// once in 4,000 times. A message that is refused for 500 costs about 30 calls.
const enoughAlone = 12

// hopeless tells whether the message itself is refused, whoever it is for: nothing was accepted,
// and the refusals are alike.
func (b *batch) hopeless() bool {
	return !b.accepted && b.refusal >= 0 && b.alone >= enoughAlone
}

// halve replaces the last part by its two halves. Of each two neighbours one goes into either, by
// a throw of a coin: were it by position, the halves would follow a pattern in the jobs, such as
// a bad recipient at the head of each, and those first called for would all be bad. Recipients of
// a task still stand together.
func (b *batch) halve() {
	p := b.parts[len(b.parts)-1]
	b.drop()
	n := len(p.recipients)
	// The same batch is halved in the same way, so that what happened can be done again.
	coin := rand.New(rand.NewPCG(uint64(b.size)<<32|uint64(n), uint64(b.refusals)))
	one, other := make([]recipient, 0, (n+1)/2), make([]recipient, 0, n/2)
	for i := 0; i+1 < n; i += 2 {
		heads := int(coin.Uint64() & 1)
		one = append(one, p.recipients[i+heads])
		other = append(other, p.recipients[i+1-heads])
	}
	if n%2 == 1 {
		one = append(one, p.recipients[n-1])
	}
	b.parts = append(b.parts, part{recipients: other}, part{recipients: one, first: true})
}

// giveUp gives the recipients in the last part for whose task there is a reason that outcome.
func (b *batch) giveUp(res *result, why func(*task) queue.Reason) {
	last := &b.parts[len(b.parts)-1]
	kept := last.recipients[:0]
	for _, r := range last.recipients {
		if reason := why(r.task); reason != "" {
			b.bury(part{recipients: []recipient{r}}, reason, res.err.Error(), res.err.Status, res)
		} else {
			kept = append(kept, r)
		}
	}
	last.recipients = kept
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
