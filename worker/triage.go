package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

const (
	// deferAfter is how long a job may wait here for its project's gate. Jobs that would wait longer go
	// back to the queue until then, and for as long at least, so that they do not fill the window that
	// others need.
	deferAfter = 5 * time.Second
	// skew is by how much the server's clock may be ahead of ours: what it says is due is due.
	skew = time.Minute
)

// triage decides whether a job that came is to be called for: then its task stays in the state inBatch.
// Otherwise the state says how it ends. The gate is nil unless it keeps the job from staying here.
func (t *task) triage(now time.Time, cfg Config, closed *gate) {
	l := t.lease
	job, due := &l.Job, l.Stream == queue.LaterStream
	switch {
	case t.loseIfLapsed(now), l.Letter != nil: // nobody is to be called for
	case l.Invalid != nil:
		t.open, t.state, t.failed = 0, settled, []failure{{reason: queue.Invalid, detail: l.Invalid.Error()}}
	case job.Undeliverable() != nil: // put off until deliver_at, nobody would hear of it before
		t.failAll(queue.Expired, job.Undeliverable().Error(), 0)
	case l.Redelivered:
		// A worker may have died between deferring it and acking. So it is deferred once more, until
		// now: if it was deferred before, the server knows that and stores nothing new. Before that a large job
		// is split again, which the server recognises as well.
		t.state, t.back = returning, now
		if job.DeliverAt.IsZero() || due {
			t.exceed(cfg.MaxRecipients)
			t.splitAt = cfg.MaxRecipients
		}
	case !job.ExpiresAt.IsZero() && !now.Before(job.ExpiresAt):
		t.failAll(queue.Expired, t.expiry(), 0)
	case job.DeliverAt.After(now) && !(due && job.DeliverAt.Sub(now) < skew):
		t.state, t.back = returning, job.DeliverAt
	case closed != nil:
		t.block(now, closed, cfg.RetryFor)
	default:
		t.exceed(cfg.MaxRecipients)
	}
}

// block has a task return when its project's gate opens, or gives it up if its time is over. A job
// that has met no failure yet, neither of its own nor by having waited for this gate before, gets
// another chance: it may have grown old while no worker ran.
func (t *task) block(now time.Time, closed *gate, retryFor time.Duration) {
	last := t.lease.LastError
	if t.lease.Attempts == 0 { // what others met is not its own failure
		t.lease.LastError = "not called for, as calls of its project were held back: " + chatapi.LogText(closed.err)
	}
	switch {
	case t.loseIfLapsed(now):
	case last != "" && !now.Before(t.end(retryFor)):
		t.failAll(queue.Exhausted, t.lease.LastError, t.lease.LastStatus)
	default:
		t.retryAt(now, later(later(closed.until, now.Add(deferAfter)), t.back), retryFor)
	}
}

// retryAt has the job come back at the time, or when it is tried for the last time if that is before.
func (t *task) retryAt(now, at time.Time, retryFor time.Duration) {
	if end := t.end(retryFor); end.After(now) && end.Before(at) {
		at = end
	}
	t.returnAt(at)
}

// returnAt has the job come back, at the time or when it expires if that is before.
func (t *task) returnAt(at time.Time) {
	t.state, t.back = returning, at
	if e := t.lease.Job.ExpiresAt; !e.IsZero() && e.Before(at) {
		t.back = e
	}
}

// end is when the task is no longer tried: a job that was to wait is tried as long as others.
func (t *task) end(retryFor time.Duration) time.Time {
	from := t.lease.PublishedAt
	if wait := t.lease.Job.DeliverAt; wait.After(from) {
		from = wait
	}
	return from.Add(retryFor)
}

// expiry is what a letter says of recipients for whom it was too late.
func (t *task) expiry() string {
	detail := "expires_at passed before delivery"
	if t.lease.LastError != "" {
		detail += "; last error: " + t.lease.LastError
	}
	return detail
}
