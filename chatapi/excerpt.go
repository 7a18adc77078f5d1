package chatapi

import (
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxDetail bounds, in bytes, what is kept of a server's text: enough for a
	// sentence and a stack of field names, little enough for a log line.
	maxDetail = 512

	// maxSaid bounds, in bytes, what is looked at of a server's text: what comes later
	// could show only if nearly all before it was private.
	maxSaid = 16 << 10

	// minMessage and minSecret are the lengths in bytes from which a private text is
	// taken out, and minLetters that of its letters. Taking out shorter ones would shred
	// every sentence and protect nothing.
	minMessage, minSecret, minLetters = 8, 4, 4

	// messagePart and secretPart are how many bytes of the letters of a longer private
	// text are recognized wherever they stand, and endPart how many letters of its
	// beginning at the end of a text: servers quote a part, and cut what they quote.
	messagePart, secretPart, endPart = 12, 8, 6
)

// private holds the texts that must not show up in an excerpt.
type private []privateText

// privateText is compared by its letters, as [letters] gives them.
type privateText struct {
	letters []letter
	part    int // how many letters are recognized
	label   string
}

// hide adds a credential.
func (p private) hide(text, label string) private { return p.add(text, label, minSecret, secretPart) }

// hideMessage adds a message.
func (p private) hideMessage(text string) private {
	return p.add(text, "[message]", minMessage, messagePart)
}

func (p private) add(text, label string, least, part int) private {
	all := letters(text[:min(len(text), maxFailureBody)])
	size := len(spell(all))
	if len(text) < least || size < minLetters {
		return p
	}
	// A character of three bytes is a syllable or a word.
	part = min(max(part*len(all)/size, 5), len(all))
	return append(p, privateText{all, part, label})
}

// parts returns where in the text each run of its letters begins that is recognized.
func (t privateText) parts() map[string][]int {
	at := make(map[string][]int)
	for start := 0; start+t.part <= len(t.letters); start++ {
		run := spell(t.letters[start : start+t.part])
		if len(at[run]) < 4 { // a text that repeats itself is found by its first places
			at[run] = append(at[run], start)
		}
	}
	return at
}

// mayBeIn reports whether a run of letters that is recognized may stand in a text. Mostly it
// does not, and this is quick to find out.
func (t privateText) mayBeIn(said []letter) bool {
	if len(said) < t.part {
		return false
	}
	hashes := make(map[uint64]bool, len(said))
	for h := range runs(said, t.part) {
		hashes[h] = true
	}
	for h := range runs(t.letters, t.part) {
		if hashes[h] {
			return true
		}
	}
	return false
}

// runs yields a hash of each run of so many letters.
func runs(letters []letter, size int) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		const base = 1_000_003
		hash, out := uint64(0), uint64(1) // out is what the letter that leaves was multiplied by
		for range size {
			out *= base
		}
		for i, l := range letters {
			hash = hash*base + uint64(l.r)
			if i >= size {
				hash -= out * uint64(letters[i-size].r)
			}
			if i >= size-1 && !yield(hash) {
				return
			}
		}
	}
}

// excerpt returns text as one printable line of at most limit bytes, without
// what is private.
func (p private) excerpt(text string, limit int) string {
	text = text[:min(len(text), maxSaid)]
	said := letters(text)
	var b strings.Builder
	end := 0
	for _, f := range p.find(said) {
		if from, to := said[f.from].from, said[f.to-1].to; to > end {
			if from >= end {
				b.WriteString(text[end:from])
				b.WriteString(f.label)
			}
			end = to
		}
	}
	b.WriteString(text[end:])
	return oneLine(b.String(), limit)
}

// found is where letters of a text are private.
type found struct {
	from, to int
	label    string
}

// find returns the private parts of a text by their beginning, the longest first.
func (p private) find(said []letter) []found {
	var all []found
	for _, t := range p {
		var at map[string][]int
		if t.mayBeIn(said) {
			at = t.parts()
		}
		for from := 0; at != nil && from+t.part <= len(said); {
			to := from
			for _, start := range at[spell(said[from:from+t.part])] {
				to = max(to, from+alike(said[from:], t.letters[start:]))
			}
			if to > from {
				all = append(all, found{from, to, t.label})
				from = to
			} else {
				from++
			}
		}
		for n := min(t.part-1, len(said)); n >= endPart; n-- { // an echo that was cut short
			if from := len(said) - n; alike(said[from:], t.letters) == n {
				all = append(all, found{from, len(said), ""})
				break
			}
		}
	}
	slices.SortStableFunc(all, func(a, b found) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	return all
}

func spell(letters []letter) string {
	var b strings.Builder
	for _, l := range letters {
		b.WriteRune(l.r)
	}
	return b.String()
}

// alike is how many letters two texts have in common from their beginnings on.
func alike(a, b []letter) int {
	n := 0
	for n < len(a) && n < len(b) && a[n].r == b[n].r {
		n++
	}
	return n
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
