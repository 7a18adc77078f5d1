package chatapi

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
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
	reason string
}

// notReply says why a body is not a reply.
type notReply struct {
	why string

	// foreign is true when it is not even a part of one: something else answers than the API.
	foreign bool
}

func (e *notReply) Error() string { return "read the reply: " + e.why }

// replyMember finds members that only a reply of the API has.
var replyMember = regexp.MustCompile(`(?i)"(success|user_?ids?)"\s*:`)

// decodeReply reads the body of a 2xx by the schema that the API documents. It is
// strict about success and data.errors, since they decide who gets the message again, and
// lenient about the rest: what stands in a text, how names are spelled, what is
// missing where it says nothing, and what follows. A reply of failure need not say
// who failed: it means everybody. The error is a *notReply.
func decodeReply(text []byte) (reply, error) {
	text = trimBOM(bytes.TrimSpace(text))
	wire, err := unmarshal(text)
	if err != nil {
		return reply{}, err
	}
	said := wire.Success
	switch {
	case !said.there && !wire.Data.there && !wire.Errors.there:
		return reply{}, &notReply{why: "it has neither success nor data", foreign: true}
	case said.twice:
		return reply{}, &notReply{why: "success is said twice, and differently"}
	case !said.there:
		return reply{}, &notReply{why: "success is missing"}
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
		return wire, &notReply{why: fmt.Sprint("it is not a JSON object: ", readErr), foreign: foreign(text)}
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

// verdict is the member success.
type verdict struct{ there, value, twice bool }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (v *verdict) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	var value bool
	switch strings.ToLower(strings.Trim(string(raw), `"`)) {
	case "true", "1":
		value = true
	case "false", "0":
	case "null":
		return nil
	default:
		return fmt.Errorf("success is neither true nor false")
	}
	v.twice = v.twice || v.there && v.value != value
	v.there, v.value = true, value
	return nil
}

// results are the member data. There is true if it holds anything, or says null.
type results struct {
	there  bool
	Errors entries `json:"errors"`
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (r *results) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	r.there = true
	if dec.PeekKind() == '{' {
		type members results
		return json.UnmarshalDecode(dec, (*members)(r))
	}
	return nothing(dec, "data")
}

// nothing reads a null, or an empty array or object, which some languages do not tell apart.
func nothing(dec *jsontext.Decoder, what string) error {
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if kind := raw.Kind(); kind != 'n' && len(bytes.Trim(raw, "[]{} \t\r\n")) > 0 || kind == '"' {
		return fmt.Errorf("%s is %v", what, kind)
	}
	return nil
}

// entries are the member errors. There is true if it is given, even as null.
type entries struct {
	there bool
	list  []replyError
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom. What it reads is added, since a
// member may be there twice.
func (e *entries) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	e.there = true
	if dec.PeekKind() != '[' {
		return nothing(dec, "errors")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		entry, err := readEntry(dec)
		if err != nil {
			return err
		}
		e.list = append(e.list, entry)
	}
	_, err := dec.ReadToken()
	return err
}

// readEntry reads one of errors. One that is not an object holds nothing but ids.
func readEntry(dec *jsontext.Decoder) (e replyError, err error) {
	e.reason = "no reason given"
	if dec.PeekKind() != '{' {
		e.ids, err = readIDs(dec, nil)
		return e, err
	}
	if _, err = dec.ReadToken(); err != nil {
		return e, err
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return e, err
		}
		switch strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name.String())) {
		case "userids", "userid", "wovenids", "wovenid":
			e.ids, err = readIDs(dec, e.ids)
		case "reason":
			var reason words
			if err = reason.UnmarshalJSONFrom(dec); reason != "" {
				e.reason = string(reason)
			}
		default:
			err = dec.SkipValue()
		}
		if err != nil {
			return e, err
		}
	}
	_, err = dec.ReadToken()
	return e, err
}

// readIDs adds every text and number of the next value to ids: what does not belong
// there is an id that nobody asked for.
func readIDs(dec *jsontext.Decoder, ids []string) ([]string, error) {
	for depth := 0; ; {
		token, err := dec.ReadToken()
		if err != nil {
			return ids, err
		}
		switch token.Kind() {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		default:
			if depth > 0 || token.Kind() != 'n' {
				ids = append(ids, token.String())
			}
		}
		if depth == 0 {
			return ids, nil
		}
	}
}

// words are a text; what is not one is taken as it is written.
type words string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (w *words) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	switch {
	case err != nil || raw.Kind() == 'n':
		return err
	case raw.Kind() != '"':
		*w = words(raw)
		return nil
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err == nil || len(text) > 0 { // an error tells of what was replaced
		*w = words(text)
	}
	return nil
}
