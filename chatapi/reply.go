package chatapi

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxUnknown bounds how many ids that were not asked for are kept: they are
	// for a log line, and one is enough to start asking the API's owner.
	maxUnknown = 16

	// maxUnknownID bounds the length of such an id in bytes.
	maxUnknownID = 128
)

// Report says who was not reached by a call that the API carried out.
type Report struct {
	// Status is the HTTP status of the reply, 200 as far as the API documents it.
	Status int

	// Failures are the recipients that the API did not reach, by reason. Only ids
	// that were asked for, each once; all others were delivered.
	Failures []Failure

	// Doubt says, without naming anybody, why the reply was understood only in part:
	// it reports failures that cannot be told whom they concern. Empty: it was
	// understood. Who is not in Failures counts as delivered all the same.
	Doubt string

	// Unknown are ids that the API named although nobody asked for them: at most
	// 16, and none longer than 128 bytes. They change nothing.
	Unknown []string
}

// Failure is one entry of data.errors.
type Failure struct {
	// WovenIDs are the recipients, called user_ids in the reply.
	WovenIDs []string

	// Reason is the API's text, made one printable line of at most 512 bytes. When
	// the API names a recipient under two reasons, the first counts.
	Reason string
}

// reply is a body that says all that matters.
type reply struct {
	success bool
	info    string
	errors  []replyError
}

type replyError struct {
	UserIDs *ids    `json:"user_ids"`
	Reason  *string `json:"reason"`
}

// decodeReply reads the body of a 2xx by the schema that the API documents. It is
// strict about success and data.errors, since they decide who gets the message again, and
// lenient about the rest: info may be missing and members may be added. A reply
// of failure need not say who failed: it means everybody.
func decodeReply(body []byte) (reply, error) {
	var wire struct {
		Success *bool `json:"success"`
		Data    *struct {
			Errors *[]replyError `json:"errors"`
		} `json:"data"`
		Info string `json:"info"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return reply{}, fmt.Errorf("read the reply: %w", err)
	}
	if wire.Success == nil {
		return reply{}, errors.New("read the reply: success is missing")
	}
	r := reply{success: *wire.Success, info: wire.Info}
	if wire.Data == nil || wire.Data.Errors == nil {
		if r.success {
			return reply{}, errors.New("read the reply: data.errors is missing, so it is not known who was reached")
		}
		return r, nil
	}
	r.errors = *wire.Data.Errors
	for i, e := range r.errors {
		if e.UserIDs == nil || e.Reason == nil {
			return reply{}, fmt.Errorf("read the reply: data.errors[%d] lacks user_ids or reason", i)
		}
	}
	return r, nil
}

// report sorts the ids of data.errors into those that were asked for and others.
func (r reply) report(asked []string) Report {
	if len(r.errors) == 0 {
		return Report{}
	}
	open := make(map[string]bool, len(asked)) // asked for, and not yet named
	for _, id := range asked {
		open[id] = true
	}
	var report Report
	unknown := make(map[string]bool)
	for _, e := range r.errors {
		var named []string
		for _, id := range *e.UserIDs {
			switch first, wanted := open[id]; {
			case first:
				open[id] = false
				named = append(named, id)
			case !wanted && !unknown[id] && len(unknown) < maxUnknown:
				unknown[id] = true
				report.Unknown = append(report.Unknown, id)
			}
		}
		if len(named) > 0 {
			report.Failures = append(report.Failures, Failure{WovenIDs: named, Reason: *e.Reason})
		}
	}
	return report
}

// clean makes the server's texts fit for logs and dead letters.
func (r *Report) clean(hide private) {
	for i := range r.Failures {
		r.Failures[i].Reason = hide.excerpt(r.Failures[i].Reason, maxDetail)
	}
	for i := range r.Unknown {
		r.Unknown[i] = hide.excerpt(r.Unknown[i], maxUnknownID)
	}
}

// ids is an array of strings in which null is no string. The decoder by itself
// would read it as "".
type ids []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *ids) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if kind := dec.PeekKind(); kind != '[' {
		return fmt.Errorf("user_ids is %v, not an array", kind)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*s = ids{}
	for dec.PeekKind() != ']' {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if token.Kind() != '"' {
			return fmt.Errorf("user_ids holds %v, not a string", token.Kind())
		}
		*s = append(*s, token.String())
	}
	_, err := dec.ReadToken()
	return err
}
