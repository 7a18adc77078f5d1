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

// runCalls runs the call of a batch, and then others, until the worker stops. The goroutine is kept:
// a call needs a deep stack, which would have to grow anew for each.
func (w *Worker) runCalls(ctx context.Context, b *batch) {
	for ok := true; ok; b, ok = <-w.granted {
		w.results <- w.runCall(ctx, b)
	}
}

// runCall makes a batch's next call and records the result. It owns the batch meanwhile.
func (w *Worker) runCall(ctx context.Context, b *batch) (o outcome) {
	began, tasks := w.cfg.Now(), b.next().tasks()
	defer func() {
		if p := recover(); p != nil {
			o = w.abandon(b, tasks, began, fmt.Sprintf("panic while recording the result of a call: %v", p))
		}
	}()
	if b.splitOff(ctx, w.cfg.MaxRecipients, w.cfg.Hook) != nil {
		return outcome{batch: b, began: began, result: result{unsent: true}}
	}
	n := b.notification()
	report, err := w.send(ctx, n)
	ended := w.cfg.Now()
	res := b.record(ended, w.cfg, report, err)
	e := Event{
		Kind: EventCall, ProjectID: b.key.project, Priority: b.key.priority, Jobs: res.jobs, Recipients: len(n.WovenIDs),
		Delivered: res.delivered, Doubt: res.doubt, Unknown: res.unknown, Status: res.status, Duration: ended.Sub(began),
	}
	if res.err != nil {
		e.Err, e.Ambiguous = res.err, res.err.MayBeDelivered
	}
	w.cfg.Hook(e)
	return outcome{batch: b, began: began, result: res}
}

// abandon gives up a batch that the worker itself cannot handle, rather than fail over it again and
// again: who of it has no outcome was perhaps delivered to, and is buried so. The tasks are those of
// the call.
func (w *Worker) abandon(b *batch, tasks []*task, began time.Time, what string) outcome {
	for _, t := range b.dissolve() {
		if !slices.Contains(tasks, t) {
			tasks = append(tasks, t)
		}
	}
	for _, t := range tasks {
		if t.open > 0 {
			t.failAll(queue.Ambiguous, what, 0)
		}
	}
	w.cfg.Hook(Event{Kind: EventTrouble, ProjectID: b.key.project, Priority: b.key.priority, Jobs: len(tasks), Err: errors.New(what)})
	return outcome{batch: b, began: began, result: result{ended: tasks}}
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
