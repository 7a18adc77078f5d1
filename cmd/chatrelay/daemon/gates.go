package daemon

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/worker"
)

// gateBoard remembers which gates of this worker are closed, and how large calls may be, for status and
// metrics.
type gateBoard struct {
	mu     sync.Mutex
	closed map[string]queue.GateStatus
	sizes  map[string]int // by project
}

func newGateBoard() *gateBoard {
	return &gateBoard{closed: map[string]queue.GateStatus{}, sizes: map[string]int{}}
}

// event takes down that a gate closed or works again, or what the API takes in a call.
func (b *gateBoard) event(e worker.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case e.Kind == worker.EventGate && e.Wait > 0:
		b.closed[e.ProjectID] = gateStatus(e, time.Now())
	case e.Kind == worker.EventGate:
		delete(b.closed, e.ProjectID)
	case e.Kind == worker.EventCallSize && e.Recipients > 0:
		b.sizes[e.ProjectID] = e.Recipients
	case e.Kind == worker.EventCallSize:
		delete(b.sizes, e.ProjectID)
	}
}

// state is what the worker says of itself.
func (b *gateBoard) state() queue.WorkerState {
	state := queue.WorkerState{Gates: b.list()}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(b.sizes)) {
		state.CallSizes = append(state.CallSizes, queue.CallSize{ProjectID: id, Recipients: b.sizes[id]})
	}
	return state
}

func gateStatus(e worker.Event, now time.Time) queue.GateStatus {
	g := queue.GateStatus{ProjectID: e.ProjectID, Kind: string(chatapi.KindOf(e.Err)), Status: e.Status, Until: now.Add(e.Wait), Narrow: e.Narrow, Shared: e.Shared, From: e.From}
	if e.Err != nil {
		g.Detail, _, _ = strings.Cut(chatapi.LogText(e.Err), "\n") // what follows a panic is for the log
	}
	if api, ok := errors.AsType[*chatapi.Error](e.Err); ok {
		g.Advice = api.Advice()
	}
	return g
}

// gateNews is how long after it was to be probed a gate is shown that was not: the project has nothing
// to probe it with.
const gateNews = 10 * time.Minute

// list gives the gates that are closed or have not been seen to work since, by project.
func (b *gateBoard) list() []queue.GateStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.closed, func(_ string, g queue.GateStatus) bool { return time.Since(g.Until) > gateNews })
	all := make([]queue.GateStatus, 0, len(b.closed))
	for _, g := range b.closed {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b queue.GateStatus) int { return strings.Compare(a.ProjectID, b.ProjectID) })
	return all
}
