package chatapitest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Delivery is one message of one project to one recipient.
type Delivery struct{ ProjectID, Message, WovenID string }

// Call is one request to the chat path, and what became of it.
type Call struct {
	// Time is when it arrived.
	Time time.Time

	// ProjectID, Message and Recipients are the call's, as it named them. Empty
	// for a call that was refused before its body was understood.
	ProjectID, Message string
	Recipients         []string

	// Status is the reply's. Zero: the connection broke or hung, or the client
	// left.
	Status int

	// Delivered is true when at least one recipient was delivered to, whatever the reply.
	Delivered bool

	// Rejected is how many of the recipients were answered in data.errors.
	Rejected int

	// InFlight is how many calls were being served when it arrived, with itself.
	InFlight int
}

// Counts are the totals since the server was made.
type Counts struct {
	// Calls counts the requests to the chat path, ByStatus the same by the status
	// of the reply, 0 for none.
	Calls    int
	ByStatus map[int]int

	// Delivered counts the recipients that were delivered to, each time anew, and Rejected
	// those that were answered in data.errors.
	Delivered, Rejected int

	// DuplicateInCall counts recipients that a call named although it had named
	// them already.
	DuplicateInCall int

	// MaxInFlight is the most calls that were served at the same time.
	MaxInFlight int

	// TokensIssued and TokensRefused count token requests.
	TokensIssued, TokensRefused int
}

// Reject answers these recipients in data.errors with reason from now on. Without
// it, recipients named "unknown-..." are answered "user not found" and those named
// "member-..." "project member" (the API forbids to address them), so that a local
// run needs no script. An empty reason takes a recipient off again.
func (s *Server) Reject(reason string, ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if reason == "" {
			delete(s.rejected, id)
		} else {
			s.rejected[id] = reason
		}
	}
}

// Delivered returns how often the message was delivered to the recipient.
func (s *Server) Delivered(projectID, message, wovenID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delivered[Delivery{projectID, message, wovenID}]
}

// Deliveries returns how often each message was delivered to each recipient.
func (s *Server) Deliveries() map[Delivery]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.delivered)
}

// Repeated returns what was delivered more than once, sorted. Empty is as it should be.
func (s *Server) Repeated() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var repeated []Delivery
	for d, times := range s.delivered {
		if times > 1 {
			repeated = append(repeated, d)
		}
	}
	slices.SortFunc(repeated, func(a, b Delivery) int {
		return cmp.Or(cmp.Compare(a.ProjectID, b.ProjectID), cmp.Compare(a.Message, b.Message), cmp.Compare(a.WovenID, b.WovenID))
	})
	return repeated
}

// Calls returns the calls whose fate is settled, in the order of settling.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Counts returns the totals.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.ByStatus = maps.Clone(c.ByStatus)
	return c
}

func (s *Server) count(add func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add(&s.counts)
}

func (s *Server) enter() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight++
	s.counts.MaxInFlight = max(s.counts.MaxInFlight, s.inFlight)
	return s.inFlight
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
}

// deliver counts a delivery to each recipient of call that is not rejected, and
// returns the others by reason.
func (s *Server) deliver(call *Call) map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := make(map[string][]string)
	named := make(map[string]bool, len(call.Recipients))
	for _, id := range call.Recipients {
		if named[id] {
			s.counts.DuplicateInCall++
		}
		named[id] = true
		if reason := s.reason(id); reason != "" {
			refused[reason] = append(refused[reason], id)
			call.Rejected++
			continue
		}
		call.Delivered = true
		if !s.cfg.Forget {
			s.delivered[Delivery{call.ProjectID, call.Message, id}]++
		}
	}
	s.counts.Rejected += call.Rejected
	s.counts.Delivered += len(call.Recipients) - call.Rejected
	return refused
}

func (s *Server) reason(id string) string {
	switch reason, scripted := s.rejected[id]; {
	case scripted:
		return reason
	case strings.HasPrefix(id, "unknown-"):
		return "user not found"
	case strings.HasPrefix(id, "member-"):
		return "project member"
	}
	return ""
}

func (s *Server) record(call Call) {
	s.mu.Lock()
	s.counts.Calls++
	s.counts.ByStatus[call.Status]++
	if !s.cfg.Forget {
		s.calls = append(s.calls, call)
	}
	s.mu.Unlock()
	if s.cfg.OnCall != nil {
		s.cfg.OnCall(call)
	}
}
