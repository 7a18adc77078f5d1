package queue

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// Priority orders jobs: an urgent call goes before a normal one, a normal one before a bulk one.
type Priority string

// The priorities, each with a stream of its own.
const (
	Urgent Priority = "urgent"
	Normal Priority = "normal"
	Bulk   Priority = "bulk"
)

// Priorities lists all priorities, most urgent first.
func Priorities() []Priority { return []Priority{Urgent, Normal, Bulk} }

// ParsePriority reads a priority as users write it.
func ParsePriority(s string) (Priority, error) {
	for _, p := range Priorities() {
		if s == string(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("priority %q is not one of urgent, normal, bulk", s)
}

// Bounds on a job.
const (
	// MaxIDLength is the longest job id, in bytes.
	MaxIDLength = 128
	// MaxMessageLength is the longest message, in bytes of UTF-8: some 4,000 words, more than anybody
	// reads in a chat. The Chat API names no bound, but every call carries the text, and every part of a
	// split job stores it again: without a bound one job of 1 MB could become gigabytes in NATS.
	MaxMessageLength = 16 << 10
	// MaxRecipientLength is the longest recipient id, in bytes.
	MaxRecipientLength = 256
	// MaxAhead is how far DeliverAt may lie ahead of the publication: a job that waits takes room that no
	// quota of its stream counts.
	MaxAhead = 366 * 24 * time.Hour
)

// Job is one message of one project to some recipients: the unit that is published, leased and
// settled. Its JSON form is the contract with producers; unknown members are refused.
type Job struct {
	// ID names the job, 1 to 128 of A-Z a-z 0-9 _ -. Publishing the same job again, that is, the same id
	// with the same content, inside the stream's duplicate window delivers once; the same id with another
	// message, other recipients (or another order of them) or other times is another job. Empty: the
	// publisher makes one, so that every publication is a job of its own.
	ID string `json:"id,omitzero"`
	// ProjectID is the UUID of the project on whose behalf the message goes out, in lower case: in capitals
	// it would be another project for subjects and gates. It must equal the last token of the subject that
	// the job is published to.
	ProjectID string `json:"project_id"`
	// Message is the text that the recipients get. Not empty, and at most [MaxMessageLength] bytes.
	Message string `json:"message"`
	// WovenIDs are the recipients. Not empty, nor is any of them, and none is longer than
	// [MaxRecipientLength]; one named twice is delivered to once.
	WovenIDs []string `json:"woven_ids"`
	// DeliverAt, when set, is the time before which the message is not delivered, at most [MaxAhead] after
	// the job is published.
	DeliverAt time.Time `json:"deliver_at,omitzero"`
	// ExpiresAt, when set, is the time after which the message is not delivered any more; the
	// recipients that remain are dead-lettered as expired. It must be after DeliverAt.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// ErrInvalid is returned, wrapped with what is wrong, for a malformed job.
var ErrInvalid = errors.New("invalid job")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// DecodeJob reads a job from its JSON form and validates it. It refuses unknown and duplicate
// members, trailing data and text that is not UTF-8, and removes repeated recipients. The error
// matches [ErrInvalid] and says which member is wrong. A job that can be read but is [Job.Undeliverable]
// is decoded: what becomes of its recipients is then known by name.
func DecodeJob(data []byte) (Job, error) {
	if len(data) == 0 {
		return Job{}, invalid("the payload is empty; it must be a JSON object")
	}
	var wire struct { // Job, but for the type of its recipients
		ID        string        `json:"id"`
		ProjectID string        `json:"project_id"`
		Message   string        `json:"message"`
		WovenIDs  recipientList `json:"woven_ids"`
		DeliverAt time.Time     `json:"deliver_at"`
		ExpiresAt time.Time     `json:"expires_at"`
	}
	if err := json.Unmarshal(data, &wire, json.RejectUnknownMembers(true)); err != nil {
		return Job{}, invalid("%s", plainError(err))
	}
	job := Job{wire.ID, wire.ProjectID, wire.Message, wire.WovenIDs, wire.DeliverAt, wire.ExpiresAt}
	if err := job.wellFormed(); err != nil {
		return Job{}, err
	}
	job.WovenIDs = compact(unique(job.WovenIDs), len(data)-len(job.Message))
	return job, nil
}

// Validate returns an error that says what is wrong with the job, in words for its producer, and
// matches [ErrInvalid]. Nil means that a worker will accept the job, if it is published within [MaxAhead]
// of its DeliverAt.
func (j Job) Validate() error {
	if err := j.wellFormed(); err != nil {
		return err
	}
	if err := j.Undeliverable(); err != nil {
		return invalid("%v", err)
	}
	return nil
}

// Undeliverable says why there is no time at which the job could be delivered: it expires before it
// may be. Nil if there is one.
func (j Job) Undeliverable() error {
	if j.ExpiresAt.IsZero() || j.DeliverAt.IsZero() || j.DeliverAt.Before(j.ExpiresAt) {
		return nil
	}
	return fmt.Errorf("expires_at %s is not after deliver_at %s", j.ExpiresAt.Format(time.RFC3339Nano), j.DeliverAt.Format(time.RFC3339Nano))
}

// tooFar returns an error that matches [ErrInvalid] if the job, published at that time, asks to wait for
// longer than [MaxAhead]. One that is [Job.Undeliverable] does not wait at all.
func (j Job) tooFar(published time.Time) error {
	waits := !j.DeliverAt.IsZero() && j.Undeliverable() == nil
	if !waits || !j.DeliverAt.After(published.Add(MaxAhead)) {
		return nil
	}
	return invalid("deliver_at %s is more than %d days after the job was published", j.DeliverAt.Format(time.RFC3339), MaxAhead/(24*time.Hour))
}

// wellFormed is Validate without what concerns only the times.
func (j Job) wellFormed() error {
	if j.ID != "" && !validID(j.ID) {
		return invalid("id %.40q must be 1 to %d characters of A-Z a-z 0-9 _ -", j.ID, MaxIDLength)
	}
	if !validProject(j.ProjectID) {
		return invalid("project_id %.40q must be a UUID such as 0f8fad5b-d9cb-469f-a165-70867728950e", j.ProjectID)
	}
	if strings.ToLower(j.ProjectID) != j.ProjectID {
		return invalid("project_id %s must be in lower case", j.ProjectID)
	}
	if j.Message == "" {
		return invalid("message must not be empty")
	}
	if len(j.Message) > MaxMessageLength {
		return invalid("message has %d bytes, must have at most %d", len(j.Message), MaxMessageLength)
	}
	if !utf8.ValidString(j.Message) {
		return invalid("message must be UTF-8")
	}
	if len(j.WovenIDs) == 0 {
		return invalid("woven_ids must name at least one recipient")
	}
	for i, id := range j.WovenIDs {
		if id == "" {
			return invalid("woven_ids[%d] must not be empty", i)
		}
		if len(id) > MaxRecipientLength {
			return invalid("woven_ids[%d] has %d bytes, must have at most %d", i, len(id), MaxRecipientLength)
		}
		if !utf8.ValidString(id) {
			return invalid("woven_ids[%d] must be UTF-8", i)
		}
	}
	return nil
}

// encode returns the JSON form that DecodeJob reads.
func (j Job) encode() ([]byte, error) { return json.Marshal(j) }

func validID(id string) bool {
	if len(id) == 0 || len(id) > MaxIDLength {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// validProject accepts the 36-character form only: the Chat API demands a UUID in this form, and the
// project is a subject token.
func validProject(id string) bool { return len(id) == 36 && uuid.Validate(id) == nil }

// plainError shortens a decoder's error to one line without the names of Go types.
func plainError(err error) string {
	if semantic, ok := errors.AsType[*json.SemanticError](err); ok {
		where := strings.TrimPrefix(string(semantic.JSONPointer), "/")
		var badTime *time.ParseError
		switch {
		case errors.Is(semantic.Err, json.ErrUnknownName):
			return fmt.Sprintf("unknown member %.60q; allowed are id, project_id, message, woven_ids, deliver_at, expires_at", where)
		case where == "":
			return fmt.Sprintf("it must be a JSON object, not a JSON %v", semantic.JSONKind)
		case errors.As(semantic.Err, &badTime):
			return fmt.Sprintf("%.60s %.60q must be a time such as 2026-11-23T09:00:00Z", where, badTime.Value)
		case semantic.Err != nil:
			return fmt.Sprintf("%.60s: %s", where, oneLine(semantic.Err.Error(), 120))
		default:
			return fmt.Sprintf("%.60s has the wrong type (a JSON %v)", where, semantic.JSONKind)
		}
	}
	return "not the JSON of a job: " + oneLine(strings.TrimPrefix(err.Error(), "jsontext: "), 160)
}

// oneLine makes text fit for a log line or a header: without control characters, and shortened to
// limit bytes and an ellipsis.
func oneLine(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
