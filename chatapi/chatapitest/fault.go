package chatapitest

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Break says at which point a call's connection fails.
type Break string

const (
	// BreakBefore drops the connection before anything is delivered. (The body was
	// read, to know the project; to the client it looks like [BreakAfter].)
	BreakBefore Break = "before"

	// BreakAfter delivers to the recipients and drops the connection without a reply.
	BreakAfter Break = "after"

	// BreakMiddle delivers to the recipients, sends half of the reply and drops
	// the connection.
	BreakMiddle Break = "middle"

	// BreakEnd delivers to the recipients, sends the whole reply, and drops the
	// connection before the last chunk, which says that it is whole.
	BreakEnd Break = "end"

	// HangEnd is BreakEnd, and the connection stays open, until the client leaves or
	// the server is closed.
	HangEnd Break = "hang-end"

	// Hang delivers to the recipients and never answers, until the client leaves
	// or the server is closed.
	Hang Break = "hang"
)

// Fault is what happens to calls that follow the schema and hold a valid token.
// The zero value is one call that is served as usual.
type Fault struct {
	// Project limits the fault to calls of this project. Empty: any.
	Project string

	// Message limits the fault to calls whose message contains this text. Empty: any.
	Message string

	// Above limits the fault to calls with more recipients than this.
	Above int

	// RefuseIDs limits the fault to calls that name one of these recipients.
	// Without a Status and a Break they are answered 400, as an API would that
	// refuses a call for the sake of one recipient. Empty: any.
	RefuseIDs []string

	// Times is how many calls it happens to. Zero: one. Negative: every one, until
	// [Server.ClearFaults].
	Times int

	// Delay passes before anything else; if the client leaves meanwhile,
	// nothing is delivered.
	Delay time.Duration

	// Status, unless zero, is the reply's, with Header and Body. Names in Header that
	// differ in nothing but case make a line each. Nothing is
	// delivered unless Deliver is set. A Break of [BreakBefore] goes first; with a Status no
	// other Break counts.
	Status int
	Header map[string]string
	Body   string

	// Deliver delivers to the recipients although Status says otherwise.
	Deliver bool

	// Break breaks the connection. Empty: it holds.
	Break Break
}

// Script adds faults. A call gets the first fault in the list that fits it, and a
// fault that has happened Times times leaves the list.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Times == 0 {
			f.Times = 1
		}
		f.Header, f.RefuseIDs = maps.Clone(f.Header), slices.Clone(f.RefuseIDs)
		s.faults = append(s.faults, &f)
	}
}

// ClearFaults empties the script. Calls that a fault already holds go on.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// SetDown answers every call with status, whatever it holds, until it is called
// with 0. Unlike a [Fault] it looks at nothing, as a gateway in front would.
func (s *Server) SetDown(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = status
}

func (s *Server) downStatus() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// nextFault takes the fault for call off the script; the zero Fault is none.
func (s *Server) nextFault(call Call) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !f.fits(call) {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return *f
	}
	return Fault{}
}

func (f *Fault) fits(call Call) bool {
	if f.Project != "" && f.Project != call.ProjectID || !strings.Contains(call.Message, f.Message) || len(call.Recipients) <= f.Above {
		return false
	}
	return len(f.RefuseIDs) == 0 || slices.ContainsFunc(f.RefuseIDs, func(id string) bool {
		return slices.Contains(call.Recipients, id)
	})
}

// status returns the status that the fault replies with, or 0.
func (f *Fault) status() int {
	if f.Status == 0 && f.Break == "" && len(f.RefuseIDs) > 0 {
		return http.StatusBadRequest
	}
	return f.Status
}

func (f *Fault) reply(w http.ResponseWriter, status int) {
	for name, value := range f.Header {
		w.Header().Add(name, value)
	}
	if f.Body == "" && f.Status == 0 {
		writeError(w, status, "a recipient of this call is not acceptable")
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, f.Body)
}

// writeHalf announces body and sends the first half of it.
func writeHalf(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
}
