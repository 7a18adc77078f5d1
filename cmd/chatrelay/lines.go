package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"sync/atomic"

	"github.com/chatrelay/chatrelay/queue"
)

// maxLine bounds one line of input. A job of a million recipients has about 20 MB.
const maxLine = 64 << 20

// line is a place in the input.
type line struct {
	file   string
	number int
	offset int64 // bytes of all input up to its end
}

type badLine struct {
	line
	err error
}

// inputs are the files of one run, one after another.
type inputs struct {
	files []inputFile
	size  int64 // of all together, -1 when not known
}

type inputFile struct {
	name string
	r    io.ReadCloser
}

func (a *app) openInputs(names []string) (*inputs, error) {
	in := &inputs{}
	for _, name := range names {
		if name == "-" {
			in.files = append(in.files, inputFile{"standard input", io.NopCloser(a.stdin)})
			in.size = -1
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			in.close()
			return nil, err
		}
		in.files = append(in.files, inputFile{name, f})
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && in.size >= 0 {
			in.size += info.Size()
		} else {
			in.size = -1
		}
	}
	return in, nil
}

func (in *inputs) close() {
	for _, f := range in.files {
		_ = f.r.Close() // only read
	}
}

// lineReader reads jobs from lines, in one goroutine, and tells another which line each came from.
type lineReader struct {
	in       *inputs
	priority queue.Priority
	sent     chan line // of the jobs handed out, in order
	stopped  atomic.Bool
	err      error // why reading ended early; to be read when jobs has returned
	copies   map[[16]byte]uint64

	mu  sync.Mutex
	bad []badLine
}

func newLineReader(in *inputs, priority queue.Priority) *lineReader {
	// More places than the publisher ever has jobs on their way.
	return &lineReader{in: in, priority: priority, sent: make(chan line, 1<<14), copies: map[[16]byte]uint64{}}
}

// stop ends the reading after the jobs on their way.
func (l *lineReader) stop() { l.stopped.Store(true) }

// jobs yields the jobs of all lines that can be read as one.
func (l *lineReader) jobs(yield func(queue.Priority, queue.Job) bool) {
	var offset int64
	for _, f := range l.in.files {
		at := line{file: f.name, offset: offset}
		r := bufio.NewReaderSize(f.r, 1<<16)
		for !l.stopped.Load() {
			text, n, err := readLine(r)
			at.number++
			at.offset += n
			if errors.Is(err, io.EOF) && len(text) == 0 {
				break
			}
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLongLine) {
				l.err = fmt.Errorf("read %s: %w", f.name, err)
				return
			}
			if at.number == 1 {
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
				l.bad = append(l.bad, badLine{at, jobErr})
				l.mu.Unlock()
				continue
			}
			if job.ID == "" {
				job.ID = l.contentID(text)
			}
			l.sent <- at
			if !yield(l.priority, job) {
				return
			}
		}
		offset = at.offset
	}
}

// refusedBefore takes out the bad lines up to a place.
func (l *lineReader) refusedBefore(at line) iter.Seq[badLine] {
	l.mu.Lock()
	n := 0
	for n < len(l.bad) && l.bad[n].offset < at.offset {
		n++
	}
	bad := l.bad[:n:n]
	l.bad = l.bad[n:]
	l.mu.Unlock()
	return func(yield func(badLine) bool) {
		for _, b := range bad {
			if !yield(b) {
				return
			}
		}
	}
}

// contentID names a job without an id by its line, its priority, and how often that line came
// before, so that the same input gives the same ids, and a line that stands twice is two jobs.
func (l *lineReader) contentID(text []byte) string {
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

var errLongLine = fmt.Errorf("the line is longer than %d MiB", maxLine>>20)

// readLine reads up to the end of a line, and how many bytes that were. Of a line that is too long
// it reads all and keeps nothing.
func readLine(r *bufio.Reader) (text []byte, n int64, err error) {
	for {
		chunk, err := r.ReadSlice('\n')
		n += int64(len(chunk))
		if n <= maxLine {
			text = append(text, chunk...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case n > maxLine:
			return nil, n, errLongLine
		}
		return text, n, err
	}
}
