package daemon

import (
	"bytes"
	"errors"
	"io"
	standard "log"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"
)

const (
	// logLines is how many lines wait while nobody reads the log; then the oldest are lost.
	logLines = 4096

	// logPatience is how long a process that ends waits for its last lines to be read.
	logPatience = time.Second
)

// LogWriter is where the log of a worker goes: whoever reads it may stop reading or go away, and the
// worker goes on. Lines that cannot be written are lost and counted.
type LogWriter struct {
	out   io.Writer
	lines diode.Writer
	lost  atomic.Int64
	// waiting is how many lines were taken, and are neither written nor lost.
	waiting atomic.Int64
}

// NewLogWriter writes to out. From then on the process outlives the readers of its standard output and
// standard error: Go programs die of SIGPIPE by default, as those should whose output is what they are for.
func NewLogWriter(out io.Writer) *LogWriter {
	signal.Ignore(syscall.SIGPIPE)
	w := &LogWriter{out: out}
	w.lines = diode.NewWriter(writerFunc(w.writeLine), logLines, 0, func(missed int) {
		w.lost.Add(int64(missed))
		w.waiting.Add(-int64(missed))
	})
	return w
}

// Write takes a line. It never waits and never fails.
func (w *LogWriter) Write(line []byte) (int, error) {
	w.waiting.Add(1)
	return w.lines.Write(line)
}

// Fd is by what a terminal is known: that of the stream beneath, or none.
func (w *LogWriter) Fd() uintptr {
	if f, ok := w.out.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// Lost is how many lines could not be written.
func (w *LogWriter) Lost() int64 { return w.lost.Load() }

// Close writes the lines that wait, if they can be written soon.
func (w *LogWriter) Close() {
	done := make(chan struct{})
	go func() {
		for range logPatience / 2 / time.Millisecond { // Close may overlook a line that was taken a moment ago
			if w.waiting.Load() <= 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_ = w.lines.Close() // it only waits
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(logPatience):
	}
}

// writeLine runs on a goroutine of its own, and may be held up for as long as the reader likes.
func (w *LogWriter) writeLine(line []byte) (int, error) {
	defer w.waiting.Add(-1)
	written := 0
	for {
		n, err := w.out.Write(line[written:])
		written += n
		if errors.Is(err, syscall.EAGAIN) { // another process made the pipe that both write to one that does not wait
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			w.lost.Add(1)
		}
		return written, err
	}
}

// catchLibraries keeps what libraries say by the standard logger, such as net/http the beginning of a
// reply that nobody asked for, out of the log but for debug level.
func catchLibraries(log zerolog.Logger) {
	standard.SetFlags(0)
	standard.SetOutput(writerFunc(func(p []byte) (int, error) {
		log.Debug().Str("said", string(bytes.TrimSpace(p))).Msg("library")
		return len(p), nil
	}))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
