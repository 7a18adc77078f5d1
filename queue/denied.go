package queue

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// denials remember which subjects the server refused to take publications to. It says so outside of any
// request, and the request itself is never answered. The zero value is usable. Safe for concurrent use.
type denials struct {
	mu      sync.Mutex
	last    map[string]time.Time
	changed chan struct{} // closed at the next denial
}

// denialsKept bounds how many subjects are remembered, so that a program for any number of projects
// keeps its size.
const denialsKept = 1000

// denialHolds is how long nothing is asked on a denied subject: permissions can be changed.
const denialHolds = time.Minute

// observe takes in an error that the server reported outside of any request.
func (d *denials) observe(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	_, rest, publish := strings.Cut(err.Error(), "for Publish to \"")
	subject, _, closed := strings.Cut(rest, "\"")
	if !publish || !closed {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil || len(d.last) >= denialsKept {
		d.last = map[string]time.Time{}
	}
	d.last[subject] = time.Now()
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// since reports whether the subject was denied at that time or later. The channel is closed at the next
// denial of any subject.
func (d *denials) since(subject string, when time.Time) (bool, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		d.changed = make(chan struct{})
	}
	last, known := d.last[subject]
	return known && !last.Before(when), d.changed
}
