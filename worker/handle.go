package worker

import (
	"context"
	"fmt"
)

// handle does a handler's work and returns the tasks that it left undone.
func (w *Worker) handle(ctx context.Context, work *work) (left []*task) {
	ctx = context.WithoutCancel(ctx) // known outcomes are recorded even while stopping
	return w.settle(ctx, work)
}

// settle makes one attempt to record what is known of the tasks, and returns those that are left.
func (w *Worker) settle(ctx context.Context, work *work) (left []*task) {
	began, project := w.cfg.Now(), commonProject(work.tasks)
	s := settlement{graveyard: w.graveyard, impatient: work.impatient, timeout: work.timeout}
	s.settle(ctx, began, work.tasks)
	work.buried, work.unburied = len(s.letters), len(s.unburied)
	took, letters := w.cfg.Now().Sub(began), s.letters
	for _, ended := range []struct {
		kind  EventKind
		tasks []*task
	}{{EventSettled, s.acked}, {EventDeferred, s.deferred}, {EventPostponed, s.postponed}} {
		if len(ended.tasks) > 0 {
			w.cfg.Hook(Event{Kind: ended.kind, ProjectID: project, Jobs: len(ended.tasks), Recipients: recipientsOf(ended.tasks), Letters: letters, Duration: took})
			letters = nil // each is told of once
		}
	}
	if len(letters) > 0 {
		w.cfg.Hook(Event{Kind: EventSettled, ProjectID: project, Letters: letters, Duration: took})
	}
	if len(s.unburied) > 0 {
		w.cfg.Hook(Event{Kind: EventUnburied, ProjectID: project, Letters: s.unburied, Err: s.why})
	}
	if s.err != nil {
		w.cfg.Hook(Event{Kind: EventTrouble, ProjectID: project, Jobs: len(s.left), Err: fmt.Errorf("settle %d jobs: %w", len(s.left), s.err)})
	}
	return s.left
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
		if t.project() != tasks[0].project() {
			return ""
		}
	}
	return tasks[0].project()
}
