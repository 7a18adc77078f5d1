package worker

import (
	"context"
	"time"
)

// chore is work that needs no call, done for all tasks that have come together meanwhile.
type chore int

const (
	choreAck chore = iota // what needs no letter
	choreBury
	choreDefer
	choreSplit
	choreKinds
)

// choreState is what is known of one kind's chores.
type choreState struct {
	busy  int       // under way
	size  int       // how many tasks the next one takes on at most
	again time.Time // when, after one that failed, the next may begin
}

// choresAtOnce bounds how many chores of each kind are under way. A flood is deferred by many.
var choresAtOnce = [choreKinds]int{choreAck: 4, choreBury: 1, choreDefer: 4, choreSplit: 1}

// choreSize bounds how many tasks a chore takes on. One that writes and outlasts its time is repeated as
// a whole; acks share a confirmation, however many they are.
var choreSize = [choreKinds]int{choreAck: 2000, choreBury: 500, choreDefer: 500, choreSplit: 500}

// choreSlow is how long a chore takes when the server has too much to do for one of that size: the next
// ones are smaller, long before they outlast settleTimeout. Below this part of choreSize it is not the
// size that makes them slow.
const (
	choreSlow = settleTimeout / 5
	chorePart = 8
)

// ackMany is how many tasks a further chore of acks must have. With fewer it waits for the one under
// way, so that whatever finishes meanwhile shares a confirmation; a busy server may take a tenth of
// a second for one, in which the window would fill with what is done.
const ackMany = 500

// ackLinger is for how long fewer acks wait for others: at some thousand calls a second, confirmations
// of one or two acks each kept the server, and this process's threads, busier than need be.
const ackLinger = 2 * time.Millisecond

func (w *Worker) chore(kind chore) *[]*task {
	switch kind {
	case choreAck:
		return &w.clean
	case choreBury:
		return &w.marked
	case choreDefer:
		return &w.schedule.deferred
	default:
		return &w.schedule.large
	}
}

// choring counts the chores under way.
func (w *Worker) choring() (n int) {
	for _, c := range w.chores {
		n += c.busy
	}
	return n
}

// doChores starts the chores that are waiting. After one that failed there is a second's pause for
// its kind: acks go on while nobody can be buried.
func (w *Worker) doChores(ctx context.Context, now time.Time) {
	none := len(w.clean) == 0
	for _, t := range w.schedule.finished {
		if len(t.failures) > 0 && !t.gone {
			w.marked = append(w.marked, t)
		} else {
			w.clean = append(w.clean, t)
		}
	}
	clear(w.schedule.finished) // they are not to be kept from here
	w.schedule.finished = w.schedule.finished[:0]
	if none && len(w.clean) > 0 {
		w.ackAt = now.Add(ackLinger)
	}
	for kind := range choreKinds {
		list, state := w.chore(kind), &w.chores[kind]
		for len(*list) > 0 && state.busy < choresAtOnce[kind] && !now.Before(state.again) {
			if kind == choreAck && len(*list) < ackMany && (state.busy > 0 || w.acksLinger(now)) {
				break
			}
			n := min(len(*list), state.size)
			tasks := (*list)[:n:n]
			if *list = (*list)[n:]; len(*list) == 0 {
				*list = nil
			}
			if state.busy++; kind == choreAck && w.acking.IsZero() {
				w.acking = now
			}
			go func() {
				left := w.do(ctx, kind, tasks)
				w.results <- outcome{chore: kind, began: now, size: n, left: left, acked: weight(tasks) - weight(left)}
			}()
		}
	}
}

// acksLinger tells whether acks wait for company: never while the worker stops, as it might leave.
func (w *Worker) acksLinger(now time.Time) bool { return now.Before(w.ackAt) && !w.stopping }

func weight(tasks []*task) (sum int) {
	for _, t := range tasks {
		sum += t.weight
	}
	return sum
}

// do does a chore and returns what is left of it.
func (w *Worker) do(ctx context.Context, kind chore, tasks []*task) (left []*task) {
	switch kind {
	case choreAck, choreBury:
		return w.settle(ctx, EventSettled, tasks)
	case choreDefer:
		return w.settle(ctx, EventDeferred, tasks)
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
	state := &w.chores[o.chore]
	state.busy--
	w.unacked -= o.acked
	if o.chore == choreAck && len(o.left) == 0 {
		if w.acking = now; state.busy == 0 {
			w.acking = time.Time{}
		}
	}
	if len(o.left) == 0 {
		// Of those under way together each says the same, so together they change the size once.
		switch most, took := choreSize[o.chore], now.Sub(o.began); {
		case o.chore == choreAck || took < choreSlow/2:
			state.size = max(state.size, min(2*o.size, most))
		case took > choreSlow && o.size >= state.size:
			state.size = min(state.size, max(o.size/2, most/chorePart))
		}
		return
	}
	// It may be one task that can never be done, such as a letter that is too large: so the
	// others go first next time, and fewer at once.
	state.again, state.size = now.Add(time.Second), max(1, len(o.left)/2)
	list := w.chore(o.chore)
	*list = append(*list, o.left...)
}
