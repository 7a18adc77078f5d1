package queue

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

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
	// Raw is the payload as it came, in a letter with reason Invalid: its first 64 KiB.
	Raw []byte `json:"raw,omitzero"`
	// RawSize and RawSHA256 (in hexadecimal) are of the whole payload. Zero if Raw is whole.
	RawSize   int    `json:"raw_size,omitzero"`
	RawSHA256 string `json:"raw_sha256,omitzero"`
	// MessageSize in bytes and MessageSHA256 (in hexadecimal) are of the whole message, if the server did not
	// take a letter with all of it: Message, or the one recipient, is only a beginning then. Zero otherwise.
	MessageSize   int    `json:"message_size,omitzero"`
	MessageSHA256 string `json:"message_sha256,omitzero"`
	// Untrusted is set when the letter is read and says why it was not written by a worker: for example
	// because it names another project than its subject, by which NATS decides who may write it. Such a
	// letter is not replayed. Empty for letters that are.
	Untrusted string `json:"untrusted,omitzero"`
	// Origin is where the job stood, such as normal-mhx3k1c9-4711: stream, incarnation and sequence. It is
	// the last token of the letter's subject, not part of the JSON. Letters that together hold the recipients
	// of one job have such as -0+500 behind it: from the first recipient on, five hundred.
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

// decodeLetter reads a letter. The part of the history that the JSON does not hold is read from the
// headers; letters of older versions have none.
func decodeLetter(data []byte, header nats.Header) (DeadLetter, error) {
	l := DeadLetter{History: decodeHistory(header)}
	if err := json.Unmarshal(data, &l); err != nil {
		return DeadLetter{}, fmt.Errorf("decode dead letter: %w", err)
	}
	l.History.clamp()
	l.FailedAt = encodable(l.FailedAt)
	l.Untrusted = "" // whoever wrote the letter does not say whether it is to be trusted
	return l, nil
}

// readLetter reads what stands in NOTIFY_DEAD. What no worker wrote is shown, so that it can be dropped, and
// does not keep the letters behind it from being read. Whose it is, and why, is what its subject says.
func readLetter(data []byte, header nats.Header, subject string, seq uint64) DeadLetter {
	l, err := decodeLetter(data, header)
	if err != nil {
		l = DeadLetter{Raw: data, Untrusted: oneLine("not a dead letter of Chatrelay: "+err.Error(), 200)}
		l.Failures = []Failure{{Detail: l.Untrusted}}
	}
	l.Seq = seq
	place := strings.ToValidUTF8(strings.TrimPrefix(subject, deadPrefix), "\uFFFD")
	tokens := strings.Split(place, ".")
	switch {
	case len(tokens) != 3:
		l.distrust("its subject is not notify.dead.<project>.<reason>.<origin>")
		l.ProjectID, l.Reason, l.Origin = UnknownProject, Invalid, place
		return l
	case err != nil:
		l.ProjectID, l.Reason, l.Origin = tokens[0], Invalid, tokens[2]
		return l
	case !utf8.ValidString(subject):
		l.distrust("its subject is not UTF-8")
	case l.ProjectID != tokens[0]:
		l.distrust(fmt.Sprintf("it names the project %.40q, but its subject %.40q", l.ProjectID, tokens[0]))
	case string(l.Reason) != tokens[1]:
		l.distrust(fmt.Sprintf("it names the reason %.40q, but its subject %.40q", l.Reason, tokens[1]))
	}
	l.ProjectID, l.Reason, l.Origin = tokens[0], Reason(tokens[1]), tokens[2]
	return l
}

// distrust keeps the first reason.
func (l *DeadLetter) distrust(why string) {
	if l.Untrusted == "" {
		l.Untrusted = why
	}
}
