package chatapi

import (
	"bytes"
	"errors"
	"regexp"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// reply is a body that says all that matters.
type reply struct {
	success bool
	info    string
	errors  []replyError
	doubt   string // why it was understood in part only
}

// replyError is an entry of data.errors.
type replyError struct {
	ids    []string
	others []string // texts of members that do not belong there
	reason string
}

// notReply says why a body is not a reply.
type notReply struct {
	why string

	// foreign is true when it is not even a part of one: something else answers than the API.
	foreign bool
}

func (e *notReply) Error() string { return "read the reply: " + e.why }

// replyMember finds members that only a reply of the API has, and idsMember those that name
// recipients, also where a gateway put the reply into a text of its own.
var (
	replyMember = regexp.MustCompile(`(?i)"(success|user_?ids?)\\*"\s*:`)
	idsMember   = regexp.MustCompile(`(?i)"user_?ids?\\*"\s*:`)
)

// decodeReply reads the body of a 2xx by the schema that the API documents. It is
// strict about success and data.errors, since they decide who gets the message again, and
// lenient about the rest: what stands in a text, how names are spelled, what is
// missing where it says nothing, and what follows. A reply of failure need not say
// who failed: it means everybody. The error is a *notReply.
func decodeReply(text []byte) (reply, error) {
	text = bytes.TrimSpace(inUTF8(text))
	wire, err := unmarshal(text)
	if err != nil {
		return reply{}, err
	}
	said := wire.Success
	switch {
	case !said.there && !wire.Data.there && !wire.Errors.there:
		return reply{}, &notReply{why: "it has neither success nor data", foreign: !replyMember.Match(text)}
	case said.twice:
		return reply{}, &notReply{why: "success is said twice, and differently"}
	case !said.there:
		return reply{}, &notReply{why: "success is missing"}
	}
	if !wire.Data.Errors.there && len(wire.Errors.list) == 0 && idsMember.Match(text) {
		return reply{}, &notReply{why: "it names recipients in another place than data.errors"}
	}
	r := reply{success: said.value, info: string(wire.Info), errors: append(wire.Data.Errors.list, wire.Errors.list...)}
	if said.value && !wire.Data.Errors.there && !wire.Errors.there {
		// Sending it again would be sending it twice to those whom the API says it has told.
		r.doubt = "the reply says success, and leaves out data.errors, which would say who was not reached"
	}
	return r, nil
}

// wireReply is a reply as it is written.
type wireReply struct {
	Success verdict `json:"success"`
	Data    results `json:"data"`
	Errors  entries `json:"errors"` // belongs into data
	Info    words   `json:"info"`
}

// unmarshal reads the object that text begins with.
func unmarshal(text []byte) (wire wireReply, err error) {
	names := json.MatchCaseInsensitiveNames(true)
	if err = json.Unmarshal(text, &wire, lenient, names); err == nil && text[0] == '{' {
		return wire, nil
	}
	first, readErr := jsontext.NewDecoder(bytes.NewBuffer(text), lenient).ReadValue()
	if readErr != nil || len(first) == 0 || first[0] != '{' {
		if readErr == nil {
			readErr = errors.New("it is not a JSON object")
		}
		return wire, &notReply{why: readErr.Error(), foreign: foreign(text)}
	}
	rest := text[len(first):]
	if replyMember.Match(rest) {
		return wire, &notReply{why: "there is more than one"}
	}
	wire = wireReply{}
	if err = json.Unmarshal(first, &wire, lenient, names); err != nil {
		return wire, &notReply{why: err.Error()}
	}
	return wire, nil
}

// foreign reports whether text, which is not an object, is something else than a reply
// that was cut or garbled.
func foreign(text []byte) bool {
	if len(text) == 0 || text[0] == '{' || !utf8.Valid(text) || replyMember.Match(text) {
		return false
	}
	return bytes.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) < 0
}
