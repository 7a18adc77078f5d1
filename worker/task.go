package worker

import (
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// task is a leased job and what is known of its recipients. Whoever holds it is the only one to
// touch it: the batch that it stands in, or the completer.
type task struct {
	lease  *queue.Lease // its History grows with what happens
	open   int          // recipients without an outcome
	failed []failure
	state  taskState
	// marked is set when a call since the lease began failed in a way that its history is to remember.
	marked bool
	// tries counts, for recipients of whom there were any, the calls that failed and may have been
	// delivered: before they came into their part of a batch.
	tries map[string]int
	// Of a returning task: when its job comes back, and for whom; nil: for everybody.
	back time.Time
	rest []string
	// tried is set once a deferral was tried: the lease can then end in no other way.
	tried bool
	// over are the recipients beyond those that a call may have, who become a job of their own before the first
	// call; see splitOff. splitAt, if it is not zero, says that they may be one already.
	over    []string
	splitAt int
	// returned is an outcome that an earlier lease postponed, until it is buried; see queue.Lease.Letter.
	// unburied counts the attempts to bury that failed, and postponed is set once the letters are to come back
	// with a deferral.
	returned  *queue.DeadLetter
	unburied  int
	postponed bool
}

// taskState says where a task stands, and so which batcher ends it.
//
//	inBatch ─▶ settled    ─▶ acked, after its letters were buried, or deferred with them
//	        ─▶ returning  ─▶ deferred, after its letters were buried, or with them
//	        ─▶ lost       ─▶ dropped
type taskState int

const (
	inBatch   taskState = iota // some recipients have no outcome, and are called for
	settled                    // every recipient has an outcome
	returning                  // the job comes back at task.back
	lost                       // the lease lapsed: somebody else has the job, nothing is recorded here
)

// failure is the outcome of some recipients of a task.
type failure struct {
	reason queue.Reason
	ids    []string
	detail string
	status int
}

func newTask(l *queue.Lease) *task {
	if l.Letter != nil {
		return &task{lease: l, state: settled, returned: l.Letter}
	}
	t := &task{lease: l, open: len(l.Job.WovenIDs)}
	rest := l.Job.WovenIDs
	for _, run := range l.Ambiguous {
		n := min(run.Recipients, len(rest))
		for _, id := range rest[:n] {
			t.countTries(id, run.Calls)
		}
		rest = rest[n:]
	}
	return t
}

// countTries adds calls for a recipient that failed and may have been delivered.
func (t *task) countTries(id string, calls int) {
	if calls == 0 {
		return
	}
	if t.tries == nil {
		t.tries = map[string]int{}
	}
	t.tries[id] += calls
}

// remember puts what is known of the rest into the job's history.
func (t *task) remember() {
	t.lease.Ambiguous = nil
	if len(t.tries) == 0 {
		return
	}
	for _, id := range t.rest {
		runs, calls := t.lease.Ambiguous, t.tries[id]
		if n := len(runs); n > 0 && runs[n-1].Calls == calls {
			runs[n-1].Recipients++
		} else {
			t.lease.Ambiguous = append(runs, queue.Tried{Recipients: 1, Calls: calls})
		}
	}
}

// amount is what it takes of the window.
func (t *task) amount() amount { return amount{1, t.lease.Size()} }

// project is whose the job is.
func (t *task) project() string {
	if t.lease.Letter != nil {
		return t.lease.Letter.ProjectID
	}
	return t.lease.Job.ProjectID
}

// loseIfLapsed gives the task up if its lease lapsed, and reports whether it is lost.
func (t *task) loseIfLapsed(now time.Time) bool {
	if t.lease.Lapsed(now) {
		t.state = lost
	}
	return t.state == lost
}

// deliver records that one recipient was delivered to, and reports whether it was the last one.
func (t *task) deliver() (settledNow bool) { return t.close(1) }

// fail records an outcome of one recipient, and reports whether it was the last one.
func (t *task) fail(id string, reason queue.Reason, detail string, status int) (settledNow bool) {
	detail = shorten(detail)
	same := slices.IndexFunc(t.failed, func(f failure) bool { return f.reason == reason && f.detail == detail && f.status == status })
	if same >= 0 {
		t.failed[same].ids = append(t.failed[same].ids, id)
	} else {
		t.failed = append(t.failed, failure{reason, []string{id}, detail, status})
	}
	return t.close(1)
}

// failAll gives every recipient without an outcome this one. The task is in no batch any more.
func (t *task) failAll(reason queue.Reason, detail string, status int) {
	t.failed = append(t.failed, failure{reason, t.remaining(), shorten(detail), status})
	t.close(t.open)
}

func (t *task) close(recipients int) (settledNow bool) {
	if t.open -= recipients; t.open == 0 && t.state != lost {
		t.state = settled
	}
	return t.open == 0
}

// touched reports whether anything is known yet; what is untouched can simply be given back.
func (t *task) touched() bool {
	return t.open < len(t.lease.Job.WovenIDs) || len(t.failed) > 0 || t.marked
}

// remaining are the recipients without an outcome, of a task that is in no batch any more.
func (t *task) remaining() []string {
	if t.rest != nil {
		return t.rest
	}
	return t.lease.Job.WovenIDs
}

// shorten bounds what a letter says of one failure, so that many of them fit into one.
func shorten(detail string) string {
	const limit = 500
	if len(detail) <= limit {
		return detail
	}
	return string([]rune(detail[:limit])) // a rune that was cut shows as such
}
