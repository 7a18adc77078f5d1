package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/ops"
	"github.com/chatrelay/chatrelay/queue"
)

// alarm is text that somebody has to act on.
func (a *app) alarm(text string) string { return term.Paint(a.stdout, term.Red, text) }

// printWaiting shows what does not come at its time, and which streams take or give nothing.
func (a *app) printWaiting(st ops.Status) {
	if st.Overdue > 0 {
		fmt.Fprintln(a.stdout, a.alarm(fmt.Sprintf("overdue            %d scheduled jobs were not delivered at their time by NATS; the workers write them anew", st.Overdue)))
	}
	if st.Delayed > 0 {
		fmt.Fprintf(a.stdout, "delayed            %d jobs wait in their stream, as too much is scheduled\n", st.Delayed)
	}
	for _, f := range st.Unsafe {
		fmt.Fprintln(a.stdout, a.alarm(fmt.Sprintf("%-18s jobs are not safe: %s (%s)", f.Place(), foreign(f.Words()), foreign(f.Remedy))))
	}
	for _, t := range st.Streams {
		if t.Unwritable != "" {
			fmt.Fprintln(a.stdout, a.alarm(fmt.Sprintf("%-18s NATS cannot write to it (%s): make room, then restart nats-server, which does not try again by itself", t.Stream, foreign(t.Unwritable))))
		}
		if t.Full > 0 {
			text := fmt.Sprintf("%-18s %.0f %% full", t.Stream, 100*t.Full)
			switch t.Stream {
			case queue.LaterStream:
				text += "; when it is full no more can be deferred: find out what waits there, or raise its max_bytes"
			case queue.DeadStream:
				text += "; when it is full no dead letters can be written: replay or drop some, or raise its max_bytes"
			}
			fmt.Fprintln(a.stdout, a.alarm(text))
		}
		if t.PausedFor > 0 {
			fmt.Fprintln(a.stdout, a.alarm(fmt.Sprintf("%-18s its consumer is paused for %s more: no jobs come from it (nats consumer resume %s %s)", t.Stream, term.Age(seconds(t.PausedFor)), t.Stream, queue.ConsumerName)))
		}
	}
}

// statusDocument is the status in JSON.
type statusDocument struct {
	queue.Status
	Unsafe []unsafeSetting `json:"unsafe,omitempty"`
}

type unsafeSetting struct {
	Where  string `json:"where"`
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

func unsafeSettings(faults []queue.Fault) (all []unsafeSetting) {
	for _, f := range faults {
		all = append(all, unsafeSetting{f.Place(), f.Words(), f.Remedy})
	}
	return all
}

// printConditions shows what a worker cannot do.
func (a *app) printConditions(conditions []queue.Condition) {
	for _, c := range conditions {
		text := fmt.Sprintf("cannot %s for %s: %s", foreign(c.What), term.Age(time.Since(c.Since)), term.Clip(term.Plain(c.Detail), 400)) // of a remedy nothing is missing
		if len(c.Projects) > 0 {
			text += " (" + foreign(strings.Join(c.Projects, ", ")) + ")"
		}
		fmt.Fprintln(a.stdout, "    "+a.alarm(text))
	}
}

// clock says how wrong a worker's clock is.
func clock(ahead float64) string {
	switch apart := seconds(ahead).Abs().Round(100 * time.Millisecond); {
	case ahead > 0:
		return fmt.Sprintf(", clock %v behind NATS", apart)
	case ahead < 0:
		return fmt.Sprintf(", clock %v ahead of NATS", apart)
	}
	return ""
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
