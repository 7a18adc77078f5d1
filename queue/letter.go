package queue

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
)

// Reason says why recipients were given up.
type Reason string

// The dead-letter reasons. Invalid is for the operator to look into, the others, which concern single
// recipients, for the owner of the project.
const (
	Rejected  Reason = "rejected"  // the API named the recipient in data.errors
	Refused   Reason = "refused"   // the API refused the call, and bisection narrowed it to these recipients
	Expired   Reason = "expired"   // expires_at passed before delivery
	Exhausted Reason = "exhausted" // still failing after retry-for
	Ambiguous Reason = "ambiguous" // the call may have been delivered and is not repeated
	Invalid   Reason = "invalid"   // the job itself is malformed; the raw bytes are kept
)

// Reasons lists all reasons.
func Reasons() []Reason {
	return []Reason{Rejected, Refused, Expired, Exhausted, Ambiguous, Invalid}
}

// ParseReason reads a reason as users write it.
func ParseReason(s string) (Reason, error) {
	for _, r := range Reasons() {
		if s == string(r) {
			return r, nil
		}
	}
	return "", fmt.Errorf("reason %q is not one of rejected, refused, expired, exhausted, ambiguous, invalid", s)
}

// UnknownProject is the project of a payload that could not be decoded.
const UnknownProject = "_"

// DeadLetter holds the failed recipients of one job for one reason, with all that is needed to
// replay it. Its JSON form is a contract with those who read the stream NOTIFY_DEAD.
type DeadLetter struct {
	JobID     string    `json:"job_id"`
	ProjectID string    `json:"project_id"`
	Priority  Priority  `json:"priority"`
	Message   string    `json:"message,omitzero"`
	WovenIDs  []string  `json:"woven_ids,omitzero"`
	Reason    Reason    `json:"reason"`
	Failures  []Failure `json:"failures"`
	History
	FailedAt time.Time `json:"failed_at"`
	// Raw is the payload as it came, in a letter with reason Invalid.
	Raw []byte `json:"raw,omitzero"`
	// Origin is where the job stood, such as normal-4711: stream and sequence. It is the last
	// token of the letter's subject, not part of the JSON.
	Origin string `json:"-"`
	// Seq is the letter's own sequence in NOTIFY_DEAD, set when it is read.
	Seq uint64 `json:"-"`
}

// Failure is why some recipients of a letter failed.
type Failure struct {
	WovenIDs []string `json:"woven_ids,omitzero"`
	Detail   string   `json:"detail"`
	// Status is the HTTP status of the call, 0 where there was none.
	Status int `json:"status,omitzero"`
}

func (l *DeadLetter) subject() string {
	return deadPrefix + l.ProjectID + "." + string(l.Reason) + "." + l.Origin
}

// decodeLetter reads a letter. The part of the history that the JSON does not hold is read from the
// headers; letters of older versions have none.
func decodeLetter(data []byte, header nats.Header) (DeadLetter, error) {
	l := DeadLetter{History: decodeHistory(header)}
	if err := json.Unmarshal(data, &l); err != nil {
		return DeadLetter{}, fmt.Errorf("decode dead letter: %w", err)
	}
	return l, nil
}

func readLetter(data []byte, header nats.Header, subject string, seq uint64) DeadLetter {
	l, err := decodeLetter(data, header)
	if err != nil {
		// Not written by a worker. It is shown, so that it can be dropped, and does not keep the
		// letters behind it from being read.
		l = DeadLetter{ProjectID: UnknownProject, Reason: Invalid, Raw: data, Failures: []Failure{{Detail: oneLine("not a dead letter of Chatrelay: "+err.Error(), 200)}}}
	}
	l.Seq = seq
	l.Origin = subject[lastDot(subject)+1:]
	return l
}

func lastDot(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '.' {
			return i
		}
	}
	return -1
}
