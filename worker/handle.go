package worker

import (
	"context"
	"fmt"
)

// handle does a handler's work and returns the tasks that it left undone.
func (w *Worker) handle(ctx context.Context, work *work) (left []*task) {
	ctx = context.WithoutCancel(ctx) // known outcomes are recorded even while stopping
	switch work.ending {
	case split:
		return w.split(ctx, work.tasks)
	case comeBack:
		return w.settle(ctx, EventDeferred, work.tasks)
	}
	return w.settle(ctx, EventSettled, work.tasks)
}

// split replaces large jobs by their parts.
func (w *Worker) split(ctx context.Context, tasks []*task) (left []*task) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for i, t := range tasks {
		t.tried = true
		e := Event{Kind: EventSplit, ProjectID: t.lease.Job.ProjectID, Jobs: 1, Recipients: len(t.lease.Job.WovenIDs)}
		if err := t.lease.Split(ctx, w.cfg.MaxRecipients); err != nil {
			w.cfg.Hook(Event{Kind: EventTrouble, ProjectID: e.ProjectID, Jobs: 1, Err: err})
			return tasks[i:]
		}
		w.cfg.Hook(e)
	}
	return nil
}

// settle makes one attempt to record what is known of tasks, and returns those that are left.
func (w *Worker) settle(ctx context.Context, kind EventKind, tasks []*task) (left []*task) {
	began, project := w.cfg.Now(), commonProject(tasks)
	letters, left, err := settle(ctx, w.graveyard, began, tasks)
	if settled := len(tasks) - len(left); settled > 0 {
		e := Event{Kind: kind, ProjectID: project, Jobs: settled, Letters: letters, Duration: w.cfg.Now().Sub(began)}
		e.Recipients = recipientsOf(tasks) - recipientsOf(left)
		w.cfg.Hook(e)
	}
	if err != nil {
		w.cfg.Hook(Event{Kind: EventTrouble, ProjectID: project, Jobs: len(left), Err: fmt.Errorf("settle %d jobs: %w", len(left), err)})
	}
	return left
}

func recipientsOf(tasks []*task) (n int) {
	for _, t := range tasks {
		n += len(t.lease.Job.WovenIDs)
	}
	return n
}

// commonProject is the project of all tasks, empty where they have several.
func commonProject(tasks []*task) string {
	for _, t := range tasks {
		if t.lease.Job.ProjectID != tasks[0].lease.Job.ProjectID {
			return ""
		}
	}
	return tasks[0].lease.Job.ProjectID
}
