package ops

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// Status is the state of the installation at one moment, and what follows from it.
type Status struct {
	queue.Status
	// Closed are the gates that any worker holds closed, each once, by project.
	Closed []Gate
	// CallSizes are what any worker knows of how many recipients the API takes in a call, where that is
	// less than it would send: the least for each project.
	CallSizes []queue.CallSize
	// Unsafe are the settings of streams and consumers with which jobs may vanish or be repeated, as they are now:
	// workers find them within a minute.
	Unsafe []queue.Fault
	// Unattended says that there are jobs to do and no worker is attached.
	Unattended bool
}

// Gate is a project for which no calls are made at the moment, or, if it is narrow, not with one of its
// messages. Its Advice is what to do about it; empty: wait.
type Gate struct {
	queue.GateStatus
}

// Status asks streams and workers.
func (o *Ops) Status(ctx context.Context) (Status, error) {
	st, err := o.q.Status(ctx, 0)
	if err != nil {
		return Status{}, err
	}
	// Whoever may not look at everything sees the rest.
	faults, _ := o.q.Faults(ctx)
	unsafe := slices.DeleteFunc(faults, func(f queue.Fault) bool { return f.Kind != queue.FaultUnsafe })
	return Status{Status: st, Unsafe: unsafe, Closed: closedGates(st.Workers), CallSizes: callSizes(st.Workers), Unattended: len(st.Workers) == 0 && st.Queued+st.Due > 0}, nil
}

// closedGates takes, of the workers that hold a project's gate closed, the one that does so longest.
func closedGates(workers []queue.WorkerStatus) []Gate {
	latest := map[string]queue.GateStatus{}
	for _, w := range workers {
		for _, g := range w.Gates {
			if g.Until.After(latest[g.ProjectID].Until) {
				latest[g.ProjectID] = g
			}
		}
	}
	var closed []Gate
	for _, g := range slices.SortedFunc(maps.Values(latest), func(a, b queue.GateStatus) int { return strings.Compare(a.ProjectID, b.ProjectID) }) {
		if g.Advice == "" { // of a worker that gives none
			g.Advice = chatapi.Kind(g.Kind).Advice()
		}
		closed = append(closed, Gate{g})
	}
	return closed
}

// callSizes takes the least that any worker knows, by project.
func callSizes(workers []queue.WorkerStatus) (all []queue.CallSize) {
	least := map[string]int{}
	for _, w := range workers {
		for _, c := range w.CallSizes {
			if n, known := least[c.ProjectID]; !known || c.Recipients < n {
				least[c.ProjectID] = c.Recipients
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(least)) {
		all = append(all, queue.CallSize{ProjectID: id, Recipients: least[id]})
	}
	return all
}
