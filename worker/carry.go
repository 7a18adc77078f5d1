package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// carryAll carries a batch, and then others, until the worker stops. Carriers are kept: a call needs
// a deep stack, which would have to grow anew for each.
func (w *Worker) carryAll(ctx context.Context, b *batch) {
	for ok := true; ok; b, ok = <-w.sealed {
		w.results <- w.carry(ctx, b)
	}
}

// carry makes a batch's next call and takes down what it came to.
func (w *Worker) carry(ctx context.Context, b *batch) (o outcome) {
	began, tasks := time.Now(), b.called()
	defer func() {
		if p := recover(); p != nil {
			o = w.wreck(b, tasks, began, fmt.Sprintf("panic while recording what a call came to: %v", p))
		}
	}()
	n := b.notification()
	report, err := w.send(ctx, n)
	ended := time.Now()
	res := b.record(ended, w.cfg, report, err)
	e := Event{
		Kind: EventCall, ProjectID: b.key.project, Priority: b.key.priority, Jobs: res.jobs, Recipients: len(n.WovenIDs),
		Delivered: res.delivered, Unknown: res.unknown, Status: res.status, Duration: ended.Sub(began),
	}
	if res.err != nil {
		e.Err, e.Ambiguous = res.err, res.err.MayBeDelivered
	}
	w.cfg.Hook(e)
	return outcome{batch: b, began: began, result: res}
}

// wreck gives up a batch that the worker itself cannot handle, rather than fail over it again and
// again: who of it has no outcome was perhaps told, and is buried so. The tasks are those of the
// call.
func (w *Worker) wreck(b *batch, tasks []*task, began time.Time, what string) outcome {
	for _, t := range b.tasks() {
		if !slices.Contains(tasks, t) {
			tasks = append(tasks, t)
		}
	}
	for _, t := range tasks {
		if t.open > 0 {
			t.failAll(queue.Ambiguous, shorten(what), 0)
		}
	}
	b.parts = nil
	w.cfg.Hook(Event{Kind: EventTrouble, ProjectID: b.key.project, Priority: b.key.priority, Jobs: len(tasks), Err: errors.New(what)})
	return outcome{batch: b, began: began, result: result{finished: tasks}}
}

// send makes the call. A panic in there is that call's failure, not the worker's end.
func (w *Worker) send(ctx context.Context, n chatapi.Notification) (report chatapi.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while calling: %v\n%s", p, debug.Stack())
		}
	}()
	return w.sender.Send(ctx, n)
}

// settle makes one attempt to record what is known of tasks, and returns those that are left.
func (w *Worker) settle(ctx context.Context, kind EventKind, tasks []*task) (left []*task) {
	began, project := time.Now(), commonProject(tasks)
	letters, left, err := settle(context.WithoutCancel(ctx), w.graveyard, began, tasks)
	if settled := len(tasks) - len(left); settled > 0 {
		e := Event{Kind: kind, ProjectID: project, Jobs: settled, Letters: letters, Duration: time.Since(began)}
		for _, t := range tasks {
			e.Recipients += len(t.lease.Job.WovenIDs)
		}
		for _, t := range left {
			e.Recipients -= len(t.lease.Job.WovenIDs)
		}
		w.cfg.Hook(e)
	}
	if err != nil {
		w.cfg.Hook(Event{Kind: EventTrouble, ProjectID: project, Jobs: len(left), Err: fmt.Errorf("settle %d jobs: %w", len(left), err)})
	}
	return left
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
