package lines

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"github.com/chatrelay/chatrelay/queue"
)

// Place is a line of the input.
type Place struct {
	File   string
	Number int   // of the line in its file, from 1
	Offset int64 // bytes of all input up to its end
}

// End is behind all lines.
var End = Place{Offset: math.MaxInt64}

// Bad is a line that is no job.
type Bad struct {
	Place
	Err error
}

// Reader reads jobs in one goroutine, which calls Jobs, for another, which calls the other methods.
type Reader struct {
	in       *Input
	priority queue.Priority
	places   chan Place // of the jobs handed out, in order
	stopped  atomic.Bool
	err      error
	copies   map[[16]byte]uint64

	mu  sync.Mutex
	bad []Bad
}

// NewReader reads jobs of a priority from in.
func NewReader(in *Input, priority queue.Priority) *Reader {
	// More places than a publisher ever has jobs in flight.
	return &Reader{in: in, priority: priority, places: make(chan Place, 1<<14), copies: map[[16]byte]uint64{}}
}

// Stop ends the reading early; jobs that were yielded stay in flight.
func (l *Reader) Stop() { l.stopped.Store(true) }

// Stopped reports whether Stop was called.
func (l *Reader) Stopped() bool { return l.stopped.Load() }

// Err is why reading ended early; to be asked when Jobs has returned.
func (l *Reader) Err() error { return l.err }

// Place is that of the next job that was yielded, in order. It waits for one.
func (l *Reader) Place() Place { return <-l.places }

// Jobs yields the jobs of all lines that can be read as one. A job without an id gets one by its
// content, so that reading the same input again gives the same ids.
func (l *Reader) Jobs(yield func(queue.Priority, queue.Job) bool) {
	var offset int64
	for _, f := range l.in.files {
		at := Place{File: f.name, Offset: offset}
		if f.text == nil {
			if l.err = f.identify(); l.err != nil {
				return
			}
		}
		for !l.stopped.Load() {
			text, n, err := readLine(f.text)
			at.Number++
			at.Offset += n
			if errors.Is(err, io.EOF) && len(text) == 0 {
				break
			}
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLongLine) {
				l.err = f.readError(err)
				return
			}
			if at.Number == 1 {
				text = bytes.TrimPrefix(text, []byte("\uFEFF"))
			}
			if len(bytes.TrimSpace(text)) == 0 && err == nil {
				continue
			}
			job, jobErr := queue.DecodeJob(text)
			if errors.Is(err, errLongLine) {
				jobErr = err
			}
			if jobErr != nil {
				l.mu.Lock()
				l.bad = append(l.bad, Bad{at, jobErr})
				l.mu.Unlock()
				continue
			}
			if job.ID == "" {
				job.ID = l.contentID(text)
			}
			l.places <- at
			if !yield(l.priority, job) {
				return
			}
		}
		offset = at.Offset
	}
}

// BadBefore takes out the bad lines before a place.
func (l *Reader) BadBefore(at Place) []Bad {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.bad) && l.bad[n].Offset < at.Offset {
		n++
	}
	bad := l.bad[:n:n]
	l.bad = l.bad[n:]
	return bad
}

// contentID names a job without an id by its line, its priority, and how often that line came
// before, so that the same input gives the same ids, and a line that stands twice is two jobs.
func (l *Reader) contentID(text []byte) string {
	h := sha256.New()
	h.Write([]byte(l.priority))
	h.Write([]byte{0})
	h.Write(bytes.TrimSpace(text))
	sum := [16]byte(h.Sum(nil))
	l.copies[sum]++
	if n := l.copies[sum]; n > 1 {
		h.Write(binary.BigEndian.AppendUint64([]byte{0}, n))
		sum = [16]byte(h.Sum(nil))
	}
	return "line-" + hex.EncodeToString(sum[:])
}
