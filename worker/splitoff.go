package worker

import (
	"context"

	"github.com/chatrelay/chatrelay/queue"
)

// A job with more recipients than a call may have waits for its turn as a whole. When its call is granted, what
// exceeds the call becomes jobs of its own, which wait in the same way: so no more of it is stored twice than
// there are calls under way for it, and a worker that is killed repeats no more than these.

// exceed sets those aside who are more than a call may have.
func (t *task) exceed(limit int) {
	if ids := t.lease.Job.WovenIDs; len(ids) > limit {
		t.over = ids[limit:]
	}
}

// callable are the recipients for whom the first call may be made.
func (t *task) callable() []string {
	ids := t.lease.Job.WovenIDs
	return ids[:len(ids)-len(t.over)]
}

// failOver gives those beyond the first call an outcome. Their job was not published.
func (t *task) failOver(reason queue.Reason, detail string) {
	if t.over == nil {
		return
	}
	t.failed = append(t.failed, failure{reason, t.over, shorten(detail), 0})
	t.open -= len(t.over)
	t.over = nil
}

// splitOff publishes those beyond the first call as a job of their own. After an error that may have happened or
// not; to try again does no harm.
func (t *task) splitOff(ctx context.Context, limit int) error {
	t.splitAt = limit
	if err := t.lease.Split(ctx, limit); err != nil {
		return err
	}
	t.open -= len(t.over)
	t.over = nil
	return nil
}

// splitAgain makes sure that those beyond the first call stand in one job only, before the rest is deferred: they
// may have been split off by an attempt that failed, or by a worker that died.
func (t *task) splitAgain(ctx context.Context) error {
	if t.over == nil || t.splitAt == 0 {
		return nil
	}
	return t.splitOff(ctx, t.splitAt)
}

// splitOff does so for the jobs of the next call.
func (b *batch) splitOff(ctx context.Context, limit int, hook func(Event)) error {
	if b.jobs > 1 { // a job that exceeds a call shares none
		return nil
	}
	t := b.next().recipients[0].task
	if t.over == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	e := Event{ProjectID: b.key.project, Priority: b.key.priority, Jobs: 1}
	if e.Recipients, e.Err = len(t.over), t.splitOff(ctx, limit); e.Err != nil {
		e.Kind = EventTrouble
	} else {
		e.Kind = EventSplit
	}
	hook(e)
	return e.Err
}
