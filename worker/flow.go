package worker

import "time"

// project is what all priorities of a project share.
type project struct {
	gate     gate
	rate     rate
	underway int // calls
	// successes counts the calls that came back well since the last failure.
	successes int
	waiting   int // jobs in batches that wait for a call
	meter     meter
	share     int // of the window, in jobs
	// Until when the calls for its deferred jobs are planned, by the first plan and by the second.
	soon, horizon time.Time
	flows         [3]*flow
}

// place says where a flow is.
type place int

const (
	nowhere place = iota // empty, or waiting for a probe
	inRing
	inHeap
)

// flow is the batches of one project and priority.
type flow struct {
	project *project
	level   int
	line    line
	deficit int // recipients that may still be called for in this turn
	place   place
	wake    time.Time
	index   int // in the heap
}

func (p *project) flow(lvl int) *flow {
	if p.flows[lvl] == nil {
		p.flows[lvl] = &flow{project: p, level: lvl}
	}
	return p.flows[lvl]
}

// allows tells whether another call may go beside those under way: after a failure, one at a time;
// at first as few as start, and one more for every success, so that a project whose calls hang is
// noticed before it has taken the slots of all.
func (p *project) allows(start int) bool {
	if p.gate.err != nil {
		return p.underway == 0
	}
	return p.underway < start+p.successes
}

// holds tells whether the project has anything to probe its gate with.
func (p *project) holds() bool {
	for _, f := range p.flows {
		if f != nil && len(f.line.batches) > 0 {
			return true
		}
	}
	return p.underway > 0
}

// flowHeap orders waiting flows by their time.
type flowHeap []*flow

func (h flowHeap) Len() int           { return len(h) }
func (h flowHeap) Less(i, j int) bool { return h[i].wake.Before(h[j].wake) }
func (h flowHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *flowHeap) Push(x any) {
	f := x.(*flow)
	f.index = len(*h)
	*h = append(*h, f)
}
func (h *flowHeap) Pop() any {
	old := *h
	f := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return f
}
