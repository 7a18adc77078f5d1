package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSecretFile bounds, in bytes, what is read of a secret file.
const maxSecretFile = 64 << 10

// ReadSecret reads a file that holds a secret and nothing else; blanks and line ends around it are
// not part of it. Errors name the file, and are otherwise those of [CleanSecret].
func ReadSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxSecretFile {
		return "", fmt.Errorf("%s is longer than %d bytes: it must hold the secret and nothing else", path, maxSecretFile)
	}
	secret, err := CleanSecret(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// CleanSecret returns the client secret in text, without blanks and line ends around it. Errors say
// what cannot be part of a secret, where it stands and what to do; they hold nothing of the text but
// the code of that character. What is allowed is RFC 6749 appendix A.2, and letters beyond ASCII,
// which some servers take.
func CleanSecret(text []byte) (string, error) {
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return "", errors.New("line 1, byte 1: it is UTF-16, as Windows PowerShell writes files: save it as UTF-8 without a byte order mark, or by Set-Content -Encoding ascii")
	case bytes.HasPrefix(text, []byte("\ufeff")):
		return "", errors.New("line 1, byte 1: it begins with a byte order mark (BOM), which would be sent as part of the secret: save it as UTF-8 without one")
	}
	const blank = " \t\r\n"
	start := len(text) - len(bytes.TrimLeft(text, blank))
	secret := string(bytes.Trim(text, blank))
	if secret == "" {
		return "", errors.New("it is empty: put the client secret into it")
	}
	if at, what := odd(secret); what != "" {
		before := text[:start+at]
		line := 1 + bytes.Count(before, []byte("\n"))
		return "", fmt.Errorf("line %d, byte %d: %s", line, start+at-bytes.LastIndexByte(before, '\n'), what)
	}
	return secret, nil
}

// CheckClientID returns an error that says why id cannot be a client id, where and what to do. An
// empty one is none of its business.
func CheckClientID(id string) error {
	at, what := odd(id)
	if blank := strings.IndexFunc(id, unicode.IsSpace); blank >= 0 && (what == "" || blank <= at) {
		at, what = blank, fmt.Sprintf("%s cannot be part of a client id: remove it", character(id[blank:]))
	}
	if what != "" {
		return fmt.Errorf("byte %d: %s", at+1, what)
	}
	return nil
}

// quotes are pairs that people put around text, and editors make of the plain ones.
var quotes = map[rune]rune{'"': '"', '\'': '\'', '`': '`', '“': '”', '‘': '’', '„': '“', '«': '»'}

// odd finds the first byte of text that no secret and no client id holds. It returns "" without one.
func odd(text string) (at int, what string) {
	for at, r := range text {
		switch {
		case r == '\n' || r == '\r':
			return at, "the line ends and another begins: leave the one line that is meant"
		case r == utf8.RuneError:
			return at, "it is not UTF-8, or lost a character when it was converted: write it anew as UTF-8"
		case r == 0:
			return at, "a NUL byte cannot be part of it: write it anew as plain UTF-8 text, not UTF-16"
		case invisible(r):
			return at, character(text[at:]) + " cannot be seen and is not part of it: type it anew, or remove that character"
		}
	}
	first, size := utf8.DecodeRuneInString(text)
	last, _ := utf8.DecodeLastRuneInString(text)
	if closing, quoted := quotes[first]; quoted && len(text) > size && last == closing {
		return 0, "it stands in quotes, which would be sent as part of it: remove them"
	}
	return 0, ""
}

// invisible reports whether r shows nothing by itself, though it is no plain blank.
func invisible(r rune) bool {
	return !unicode.IsPrint(r) || r == '\u2800' || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// character names the first character of text by its code, which says nothing of a secret that it
// does not belong to.
func character(text string) string {
	r, _ := utf8.DecodeRuneInString(text)
	return fmt.Sprintf("the character U+%04X", r)
}
