package term

import (
	"os"

	xterm "golang.org/x/term"
)

// IsTerminal reports whether a stream is one that a person looks at or types into.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
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

// Paint colours text that is going to stream, if that is a terminal and NO_COLOR (no-color.org) is
// not set.
func Paint(stream any, c Colour, text string) string {
	if !IsTerminal(stream) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
