package worker

import (
	"context"
	"time"
)

// chore is work that needs no call, done for all tasks that have come together meanwhile.
type chore int

const (
	choreSettle chore = iota
	choreDefer
	choreSplit
)

// choreSize bounds how many tasks a chore takes on.
const choreSize = 2000

// choresAtOnce bounds how many chores of each kind are under way. A flood is deferred by many.
var choresAtOnce = [3]int{choreSettle: 1, choreDefer: 4, choreSplit: 1}

func (w *Worker) chore(kind chore) *[]*task {
	switch kind {
	case choreSettle:
		return &w.schedule.finished
	case choreDefer:
		return &w.schedule.deferred
	default:
		return &w.schedule.large
	}
}

// doChores starts the chores that are waiting. After one that failed there is a second's pause.
func (w *Worker) doChores(ctx context.Context, now time.Time) {
	if now.Before(w.again) {
		return
	}
	for kind := choreSettle; kind <= choreSplit; kind++ {
		list := w.chore(kind)
		for len(*list) > 0 && w.busy[kind] < choresAtOnce[kind] {
			n := min(len(*list), w.size[kind])
			tasks := (*list)[:n:n]
			*list = (*list)[n:]
			w.busy[kind]++
			w.chores++
			go func() { w.results <- outcome{chore: kind, left: w.do(ctx, kind, tasks)} }()
		}
	}
}

// do does a chore and returns what is left of it.
func (w *Worker) do(ctx context.Context, kind chore, tasks []*task) (left []*task) {
	switch kind {
	case choreSettle:
		return w.settle(ctx, EventSettled, "", tasks)
	case choreDefer:
		return w.settle(ctx, EventDeferred, "", tasks)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	for i, t := range tasks {
		t.ending = true
		if err := t.lease.Split(ctx, w.cfg.MaxRecipients); err != nil {
			w.cfg.Hook(Event{Kind: EventTrouble, ProjectID: t.lease.Job.ProjectID, Jobs: 1, Err: err})
			return tasks[i:]
		}
		w.cfg.Hook(Event{Kind: EventSplit, ProjectID: t.lease.Job.ProjectID, Jobs: 1, Recipients: len(t.lease.Job.WovenIDs)})
	}
	return nil
}

// choreDone takes back what a chore left.
func (w *Worker) choreDone(now time.Time, o outcome) {
	w.chores--
	w.busy[o.chore]--
	size := &w.size[o.chore]
	if len(o.left) == 0 {
		*size = min(2**size, choreSize)
		return
	}
	// It may be one task that can never be done, such as a letter that is too large: so the
	// others go first next time, and fewer at once.
	w.again, *size = now.Add(time.Second), max(1, len(o.left)/2)
	list := w.chore(o.chore)
	*list = append(*list, o.left...)
}
