package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// Outcomes that cannot be buried leave the window, which projects without failures need: the job is deferred
// with its letters, which come back as leases of their own. A graveyard that is full says so, and stays so for
// a while; of any other failure a task sees a few first. The letters come back ever more seldom: of those that
// wait, all together are to be few attempts a second.
const (
	burialTries    = 3
	postponedFirst = 10 * time.Second
	postponedMost  = 5 * time.Minute
	// After burialsFail without a letter that was stored, everything that fails is postponed at once, and an
	// attempt may take burialProbe.
	burialsFail = 5 * time.Second
	burialProbe = time.Second
)

// postpone takes down that some letter of the task could not be written, and reports whether the task is to be
// deferred with its letters now: at once, or after a few tries.
func (t *task) postpone(atOnce bool) bool {
	t.unburied++
	t.postponed = atOnce || t.unburied >= burialTries
	return t.postponed
}

// stored takes down that the task's letter with a reason was stored: it is not written again.
func (t *task) stored(reason queue.Reason) {
	t.returned = nil
	kept := t.failed[:0]
	for _, f := range t.failed {
		if f.reason != reason {
			kept = append(kept, f)
		}
	}
	t.failed = kept
}

// deferral is how the rest of the task comes back, and its letters if they are postponed.
func (t *task) deferral(now time.Time) queue.Deferral {
	d := queue.Deferral{Lease: t.lease, At: t.back, WovenIDs: t.rest, History: t.lease.History}
	if t.open == 0 {
		d.WovenIDs = []string{}
		d.At = now.Add(min(postponedMost, postponedFirst<<min(t.lease.Deferrals, 10)))
	}
	if t.postponed {
		d.Letters = t.letters(now)
	}
	return d
}
