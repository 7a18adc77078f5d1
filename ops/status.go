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
	return Status{Status: st, Closed: closedGates(st.Workers), Unattended: len(st.Workers) == 0 && st.Queued+st.Due > 0}, nil
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
