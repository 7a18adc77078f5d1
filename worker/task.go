package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// task is a leased job and what is known of its recipients.
type task struct {
	lease    *queue.Lease
	open     int // recipients without an outcome
	attempts int // calls that had a recipient of this job in them, over all its leases
	lastErr  string
	// unreadable counts the answers, over all its leases, that may have meant delivery and could not be read.
	unreadable int
	failures   []failure
	// weight is the task's part of the call that finished it, in parts of callWeight.
	weight int
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
	return &task{lease: l, open: len(l.Job.WovenIDs), attempts: l.Attempts, unreadable: l.Unreadable, lastErr: l.LastError}
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
func (t *task) touched() bool {
	return t.open < len(t.lease.Job.WovenIDs) || len(t.failures) > 0 || t.unreadable > t.lease.Unreadable
}

// remaining are the recipients without an outcome, of a task that is in no batch any more.
func (t *task) remaining() []string {
	if t.rest != nil {
		return t.rest
	}
	return t.lease.Job.WovenIDs
}

// history is that of the lease and what was learned since.
func (t *task) history() queue.History {
	h := t.lease.History
	h.Attempts, h.Unreadable, h.LastError = t.attempts, t.unreadable, t.lastErr
	return h
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
		WovenIDs: ids, Reason: reason, Failures: []queue.Failure{entry},
		History: t.history(), FailedAt: now, Origin: l.Origin(),
	}
	if l.Invalid != nil {
		letter.ProjectID, letter.Raw = queue.UnknownProject, l.Raw
		letter.JobID, letter.Message, letter.WovenIDs = "", "", nil
	}
	return letter
}
