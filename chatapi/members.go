package chatapi

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

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

// separators are what names may be written with or without.
var separators = strings.NewReplacer("_", "", "-", "")

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
		switch strings.ToLower(separators.Replace(name.String())) {
		case "userids", "userid", "wovenids", "wovenid":
			e.ids, err = readIDs(dec, e.ids)
		case "reason":
			var reason words
			if err = reason.UnmarshalJSONFrom(dec); reason != "" {
				e.reason = string(reason)
			}
		default:
			e.others, err = readIDs(dec, e.others)
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
