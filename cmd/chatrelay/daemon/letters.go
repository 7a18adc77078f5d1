package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/worker"
)

// letterBoard remembers whose dead letters cannot be written, for status, readiness, metrics and the log.
// Their jobs wait in NOTIFY_LATER meanwhile, so it is a condition and no reason to send the worker no traffic.
type letterBoard struct {
	mu       sync.Mutex
	since    time.Time // of the condition; zero: there is none
	projects map[string]unwritten
}

// unwritten is the last attempt to write a letter of a project, which failed.
type unwritten struct {
	at     time.Time
	why    string
	stored bool // a letter was, since then
}

const (
	// lettersCalm is how long after an attempt that failed one that succeeded since ends the trouble of its project:
	// near the limit small letters find room and large ones do not.
	lettersCalm = 5 * time.Second
	// lettersNews is how long after the last attempt a project is shown: another worker has its letters by then.
	// They come back within five minutes.
	lettersNews = 10 * time.Minute
)

func newLetterBoard() *letterBoard { return &letterBoard{projects: map[string]unwritten{}} }

// turn is what an event changed: nothing, or the condition began or ended.
type turn int

const (
	unchanged turn = iota
	began
	ended
)

// event takes down which letters were stored and which could not be.
func (b *letterBoard) event(now time.Time, e worker.Event) turn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.expire(now); len(b.projects) == 0 && len(e.Letters) > 0 && e.Kind == worker.EventUnburied {
		b.since = time.Time{} // what was before ended unseen
	}
	for _, l := range e.Letters {
		if e.Kind == worker.EventUnburied {
			b.projects[l.ProjectID] = unwritten{at: now, why: oneLine(e.Err)}
		} else if u, ok := b.projects[l.ProjectID]; ok {
			u.stored = true
			b.projects[l.ProjectID] = u
		}
	}
	b.expire(now)
	switch {
	case b.since.IsZero() && len(b.projects) > 0:
		b.since = now
		return began
	case !b.since.IsZero() && len(b.projects) == 0:
		b.since = time.Time{}
		return ended
	}
	return unchanged
}

// expire forgets whose letters are stored, or with other workers. The caller holds mu.
func (b *letterBoard) expire(now time.Time) {
	maps.DeleteFunc(b.projects, func(_ string, u unwritten) bool {
		past := now.Sub(u.at)
		return past > lettersNews || u.stored && past > lettersCalm
	})
}

// condition is what status shows; nil while all letters are written.
func (b *letterBoard) condition(now time.Time) *queue.Condition {
	const most = 10
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	if len(b.projects) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(b.projects))
	last := ids[0]
	for _, id := range ids {
		if b.projects[id].at.After(b.projects[last].at) {
			last = id
		}
	}
	c := queue.Condition{What: "write dead letters", Since: b.since, Detail: b.projects[last].why, Projects: ids[:min(len(ids), most)]}
	if more := len(ids) - most; more > 0 {
		c.Detail += fmt.Sprintf(" (and %d more projects)", more)
	}
	return &c
}

// count is of how many projects letters cannot be written.
func (b *letterBoard) count(now time.Time) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	return float64(len(b.projects))
}

// oneLine is an error for the log and for status.
func oneLine(err error) string {
	text, _, _ := strings.Cut(chatapi.LogText(err), "\n")
	return text
}

// conditionText is a condition for people.
func conditionText(c queue.Condition) string {
	text := fmt.Sprintf("cannot %s since %s: %s", c.What, c.Since.UTC().Format(time.RFC3339), c.Detail)
	if len(c.Projects) > 0 {
		text += "; projects " + strings.Join(c.Projects, ", ")
	}
	return text
}
