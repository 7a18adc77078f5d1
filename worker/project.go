package worker

import "time"

// project is what all priorities of a project share.
type project struct {
	// Owned by permits: whether a call may begin.
	gate      gate
	rate      rate
	inFlight  int       // calls
	successes int       // calls that came back well since the last failure
	succeeded time.Time // when the last call did
	size      callSize
	// The client credential with which it calls, and what Config.Credential said of it; nil: it shares it
	// with no other project.
	credential    *credential
	credentialKey any
	place         int // in credential.projects

	// Owned by the schedule: what waits, and how it is served.
	flows       [3]*flow
	waiting     amount // in batches that wait for a call
	heldBack    amount // of it, what is counted in schedule.heldBack
	meter       meter
	windowShare amount
	nextReturn  time.Time // until when the calls for its deferred jobs are planned
}

// flow is the batches of one project and priority.
type flow struct {
	project *project
	level   int // of the priority
	queue   batchQueue
	deficit int // recipients that may still be called for in this turn
	state   flowState
	wake    time.Time // when to look at it again, while it is timed
	index   int       // in the heap, while it is timed
}

// flowState says where a flow is.
type flowState int

const (
	idle  flowState = iota // empty, or waiting for a call of its project to come back
	ready                  // in the ring of its priority
	timed                  // in the heap, until a time
)

func (p *project) flow(level int) *flow {
	if p.flows[level] == nil {
		p.flows[level] = &flow{project: p, level: level}
	}
	return p.flows[level]
}

// shut is the gate that holds the project back for longest: its own, or its credential's.
func (p *project) shut() *gate {
	if c := p.credential; c.failing() && !c.gate.until.Before(p.gate.until) {
		return &c.gate
	}
	return &p.gate
}

// wake has what rests after a failure go at a time if that is sooner.
func (p *project) wake(at time.Time) {
	for _, f := range p.flows {
		if f != nil {
			f.queue.wake(at)
		}
	}
}

// busy reports whether the project has anything to probe its gate with.
func (p *project) busy() bool {
	for _, f := range p.flows {
		if f != nil && !f.queue.empty() {
			return true
		}
	}
	return p.inFlight > 0
}

// flowHeap orders timed flows by their time.
type flowHeap []*flow

func (h flowHeap) Len() int           { return len(h) }
func (h flowHeap) Less(i, j int) bool { return h[i].wake.Before(h[j].wake) }
func (h flowHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *flowHeap) Push(x any) {
	f := x.(*flow)
	f.index = len(*h)
	*h = append(*h, f)
}

// Pop implements heap.Interface.
func (h *flowHeap) Pop() any {
	old := *h
	f := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return f
}
