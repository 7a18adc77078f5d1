package term

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Plain makes foreign text safe to show as a part of a line. What could move the cursor, end the line,
// colour, hide or reorder what stands around it is written as JSON would escape it, such as \u202e;
// bytes that are not UTF-8 become U+FFFD. All else stays: accents, Arabic, emoji.
func Plain(text string) string { return escape(text, false) }

// PlainLines is Plain for text of several lines.
func PlainLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = Plain(lines[i])
	}
	return strings.Join(lines, "\n")
}

// Guard is a stream on which foreign text can do no harm even where it was not made [Plain], as in JSON
// and in the log. If stream is a terminal, all is escaped that Plain escapes, but for the control
// characters of ASCII: lines, colours and progress bars are made of these, and JSON and the log escape
// them where they are foreign. What is no terminal gets each byte as it is.
func Guard(stream io.Writer) io.Writer {
	if f, ok := stream.(*os.File); ok && IsTerminal(f) {
		return guarded{f}
	}
	return stream
}

// guarded does not embed its file: io.WriteString and io.Copy would go around Write.
type guarded struct{ f *os.File }

// Write implements io.Writer. Each call brings whole characters.
func (g guarded) Write(p []byte) (int, error) {
	if _, err := g.f.WriteString(escape(string(p), true)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Fd is by what [IsTerminal] knows a terminal.
func (g guarded) Fd() uintptr { return g.f.Fd() }

// escape writes harmful characters as JSON would escape them; those of ASCII only unless they are own.
func escape(text string, ownASCII bool) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, string(utf8.RuneError))
	}
	if strings.IndexFunc(text, harmful) < 0 {
		return text
	}
	var b strings.Builder
	before := ' '
	for i, r := range text {
		after, _ := utf8.DecodeRuneInString(text[i+utf8.RuneLen(r):])
		switch {
		case !harmful(r), ownASCII && r < ' ', isJoiner(r) && joinable(before) && joinable(after):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		before = r
	}
	return b.String()
}

// harmful characters act on the terminal or on other text, or stand there without being seen: control
// characters of both sets, line and paragraph separators, and format characters (bidirectional controls,
// those of no width, tags). Among the latter are a few visible ones, such as the Arabic number sign.
func harmful(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point) ||
		unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// isJoiner tells of the two characters that say how their neighbours, and nothing else, are drawn. Emoji
// of families, Persian and the languages of India cannot be written without them.
func isJoiner(r rune) bool { return r == '\u200C' || r == '\u200D' }

// joinable characters are those whose form a joiner can change. Beside others it has no effect, and would
// only make two different ids look the same.
func joinable(r rune) bool {
	return r > unicode.MaxASCII && r != utf8.RuneError && !harmful(r) && !unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic) &&
		(unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsSymbol(r))
}
