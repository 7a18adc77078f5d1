package chatapi

import (
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// letter is one character of a text, and the bytes of the text that it stands for.
type letter struct {
	r        rune
	from, to int
}

// maxEscapes is how often a text is taken to be escaped at most: JSON in HTML in a
// log line is three times.
const maxEscapes = 4

// letters returns the characters of a text that do not change when a server echoes it:
// escapes of JSON, HTML and addresses are undone, blanks and the plus that stands for
// one in a form left out, and capitals are small.
func letters(text string) []letter {
	all := make([]letter, 0, len(text))
	for i, r := range text {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(text[i:])
		}
		all = append(all, letter{r, i, i + size})
	}
	escaped := strings.ContainsAny(text, `\&%`)
	for n := 0; escaped && n < maxEscapes; n++ {
		all, escaped = unescape(all)
	}
	kept := all[:0]
	for _, l := range all {
		switch {
		case l.r >= 'a' && l.r <= 'z': // mostly
			kept = append(kept, l)
		case l.r != '+' && unicode.IsPrint(l.r) && !unicode.IsSpace(l.r):
			kept = append(kept, letter{unicode.ToLower(l.r), l.from, l.to})
		}
	}
	return kept
}

// unescape undoes one level of escapes.
func unescape(in []letter) (out []letter, changed bool) {
	out = make([]letter, 0, len(in))
	for i := 0; i < len(in); {
		var r []rune
		n := 0
		switch in[i].r {
		case '\\':
			r, n = backslash(in[i:])
		case '&':
			r, n = entity(in[i:])
		case '%':
			r, n = percent(in[i:])
		}
		if n == 0 {
			out = append(out, in[i])
			i++
			continue
		}
		changed = true
		for _, r := range r {
			out = append(out, letter{r, in[i].from, in[i+n-1].to})
		}
		i += n
	}
	return out, changed
}

// ascii is the beginning of a text, as long as it has no other characters than ASCII.
func ascii(in []letter, most int) string {
	b := make([]byte, 0, most)
	for _, l := range in[:min(len(in), most)] {
		if l.r >= utf8.RuneSelf {
			break
		}
		b = append(b, byte(l.r))
	}
	return string(b)
}

// backslash reads an escape as JSON, JavaScript and Go write it. n is its length, 0 if it is none.
func backslash(in []letter) (r []rune, n int) {
	text := ascii(in, 12)
	if len(text) < 2 {
		return nil, 0
	}
	digits := func(from, count int) (rune, bool) {
		if len(text) < from+count {
			return 0, false
		}
		v, err := strconv.ParseUint(text[from:from+count], 16, 31)
		return rune(v), err == nil
	}
	switch text[1] {
	case 'u':
		first, ok := digits(2, 4)
		if !ok {
			return nil, 0
		}
		if second, ok := digits(8, 4); ok && utf16.IsSurrogate(first) && text[6:8] == `\u` {
			return []rune{utf16.DecodeRune(first, second)}, 12
		}
		return []rune{first}, 6
	case 'U':
		if v, ok := digits(2, 8); ok {
			return []rune{v}, 10
		}
	case 'x':
		if v, ok := digits(2, 2); ok {
			return []rune{v}, 4
		}
	case 'n', 'r', 't', 'b', 'f', 'v', 'a':
		return []rune{' '}, 2
	case '"', '\'', '\\', '/':
		return []rune{rune(text[1])}, 2
	}
	return nil, 0
}

// entity reads a character reference of HTML.
func entity(in []letter) (r []rune, n int) {
	text := ascii(in, 12)
	end := strings.IndexByte(text, ';')
	if end < 0 {
		return nil, 0
	}
	plain := html.UnescapeString(text[:end+1])
	if plain == text[:end+1] {
		return nil, 0
	}
	return []rune(plain), end + 1
}

// percent reads a run of %XX, which are bytes.
func percent(in []letter) (r []rune, n int) {
	var b []byte
	for {
		text := ascii(in[n:], 3)
		if len(text) < 3 || text[0] != '%' {
			break
		}
		v, err := strconv.ParseUint(text[1:], 16, 8)
		if err != nil {
			break
		}
		b = append(b, byte(v))
		n += 3
	}
	return []rune(string(b)), n
}
