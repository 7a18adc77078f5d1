package chatapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

const (
	// maxDetail bounds, in bytes, what is kept of a server's text: enough for a
	// sentence and a stack of field names, little enough for a log line.
	maxDetail = 512

	// minPrivateMessage is the length in bytes from which a message is taken out.
	// Taking out shorter ones would shred every sentence and protect nothing. A
	// credential is taken out whatever its length.
	minPrivateMessage = 8

	// minCutEcho is how much of a private text, cut short at the end of an
	// excerpt, is recognized.
	minCutEcho = 6
)

// private holds the texts that must not show up in an excerpt.
type private []privateText

type privateText struct{ form, label string }

// hide adds text in the forms in which a server may echo it.
func (p private) hide(text, label string) private {
	if text == "" {
		return p
	}
	quoted, _ := json.Marshal(text)
	ascii := strconv.QuoteToASCII(text)
	forms := []string{
		text, url.QueryEscape(text), url.PathEscape(text),
		strings.TrimSuffix(strings.TrimPrefix(string(quoted), `"`), `"`), ascii[1 : len(ascii)-1],
	}
	slices.Sort(forms)
	for _, form := range slices.Compact(forms) {
		if form != "" { // what is not UTF-8 has no JSON form
			p = append(p, privateText{form, label})
		}
	}
	return p
}

// hideMessage adds a message, unless it is so short that other text may contain it by chance.
func (p private) hideMessage(text string) private {
	if len(text) < minPrivateMessage {
		return p
	}
	return p.hide(text[:min(len(text), maxFailureBody)], "[message]")
}

// excerpt returns text as one printable line of at most limit bytes, without
// what is private.
func (p private) excerpt(text string, limit int) string {
	text = text[:min(len(text), maxFailureBody)]
	// Longest first: taking out a part of a longer one would show its rest.
	slices.SortStableFunc(p, func(a, b privateText) int { return len(b.form) - len(a.form) })
	for _, t := range p {
		text = strings.ReplaceAll(text, t.form, t.label)
	}
	for _, t := range p {
		// The server, or our bound on what we read, may have cut an echo short.
		for n := min(len(t.form), len(text)); n >= minCutEcho; n-- {
			if strings.HasSuffix(text, t.form[:n]) {
				text = text[:len(text)-n]
				break
			}
		}
	}
	return oneLine(text, limit)
}

// oneLine makes text printable, turns runs of white space into one space, and
// cuts it at limit bytes between two runes.
func oneLine(text string, limit int) string {
	var b strings.Builder
	space := false
	for _, r := range text {
		if unicode.IsSpace(r) {
			space = true
			continue
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		if space && b.Len() > 0 {
			if b.Len()+1+utf8.RuneLen(r) > limit {
				break
			}
			b.WriteByte(' ')
		}
		space = false
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
