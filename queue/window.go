package queue

import "time"

// window says how much one source holds, what it has asked the server for, and so what it may still ask for. It
// asks for no more than there is room for, so jobs never wait in the client. It is a plain value, without
// clock or lock.
type window struct {
	mostJobs, mostBytes int
	jobs, bytes         int // held

	asked   int // jobs that were asked for, and neither came nor were taken back
	pulls   map[string]int
	next    int       // numbers the pulls
	expires time.Time // when the last pull is over at the latest
	// wire and memory are the bytes of what came lately, on the way and as it is held: a job of many short
	// recipients takes many times the bytes in memory.
	wire, memory int
	// refused is the size of a job for which there was no room; zero: none since the last one that was held. It is
	// the next to come.
	refused int
}

// request is one pull: so many jobs, in so many bytes on their way.
type request struct {
	name        string
	jobs, bytes int
}

// How much is asked for. Two pulls are under way in a backlog, so that one is served while the next one is
// on its way to the server.
const (
	pullMessages = 2000
	pullBytes    = 8 << 20
)

func newWindow(jobs, bytes int) window {
	return window{mostJobs: jobs, mostBytes: bytes, pulls: map[string]int{}}
}

// ask says what to ask for next; no jobs: nothing now. Asking for a single job would be a waste, so a sixteenth
// of the window must be free.
func (w *window) ask(now time.Time, limits pullLimits) request {
	if w.asked > 0 && now.After(w.expires.Add(pullGrace)) {
		w.forgetPulls() // the server's last word was lost
	}
	jobs, bytes := w.mostJobs-w.jobs-w.asked, w.mostBytes-w.bytes
	if jobs < max(1, w.mostJobs/16) || bytes < w.mostBytes/16 || !w.holds(w.refused) || w.asked > pullMessages/2 || len(w.pulls) >= mostPulls {
		return request{}
	}
	w.next++
	r := request{name: pullName(w.next), jobs: min(jobs, pullMessages, limits.jobs), bytes: min(max(limits.largest, min(pullBytes, w.onTheWay(bytes))), limits.bytes)}
	w.asked += r.jobs
	w.pulls[r.name] = r.jobs
	w.expires = now.Add(limits.expires)
	return r
}

// mostPulls bounds the pulls under way; a server takes 512 for all workers together.
const mostPulls = 8

// onTheWay is how many bytes on their way come to so many in memory.
func (w *window) onTheWay(memory int) int {
	if w.memory <= w.wire {
		return memory
	}
	return int(float64(memory) * float64(w.wire) / float64(w.memory))
}

// came counts a job that was delivered.
func (w *window) came(wire, memory int) {
	w.asked = max(0, w.asked-1)
	const lately = 4 << 20
	if w.wire += wire; w.wire > lately {
		w.wire, w.memory = w.wire/2, w.memory/2
	}
	w.memory += memory
	if w.asked == 0 {
		clear(w.pulls) // all were served in full, of which the server says nothing
	}
}

// broughtNothing reports whether a pull that ended with so many jobs left is known, and brought none.
func (w *window) broughtNothing(name string, left int) bool {
	n, under := w.pulls[name]
	return under && left == n
}

// over counts a pull that ended with so many jobs left; -1: all of them.
func (w *window) over(name string, left int) {
	n, under := w.pulls[name]
	if !under {
		return
	}
	delete(w.pulls, name)
	if left < 0 || left > n {
		left = n
	}
	w.asked = max(0, w.asked-left)
}

// forgetPulls counts all pulls as over.
func (w *window) forgetPulls() {
	w.asked = 0
	clear(w.pulls)
}

// holds reports whether a job may be held beside the others. One alone always may. Nothing is asked for before what
// was refused may be: it would come and go as fast as the server can.
func (w *window) holds(memory int) bool { return w.jobs == 0 || w.bytes+memory <= w.mostBytes }

// add and remove count a job that is held.
func (w *window) add(memory int)    { w.jobs, w.bytes, w.refused = w.jobs+1, w.bytes+memory, 0 }
func (w *window) remove(memory int) { w.jobs, w.bytes = w.jobs-1, w.bytes-memory }
