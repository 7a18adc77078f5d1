package term

import (
	"os"

	xterm "golang.org/x/term"
)

// IsTerminal reports whether a stream is one that a person looks at or types into.
func IsTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && xterm.IsTerminal(int(f.Fd()))
}

// Colour of text on a terminal: the number of an ANSI escape sequence.
type Colour string

// The colours in use.
const (
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
)

// Capable reports whether a stream is a terminal that can do more than print line after line; one of
// the type dumb cannot, such as that of a shell in an editor.
func Capable(stream any) bool { return IsTerminal(stream) && os.Getenv("TERM") != "dumb" }

// Colours reports whether text that goes to stream may be coloured: it is a [Capable] terminal, and
// NO_COLOR is not set (no-color.org).
func Colours(stream any) bool { return Capable(stream) && os.Getenv("NO_COLOR") == "" }

// Paint colours text that is going to stream, if it may be coloured.
func Paint(stream any, c Colour, text string) string {
	if !Colours(stream) {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
