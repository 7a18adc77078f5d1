package chatapi

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestExcerpt(t *testing.T) {
	const token = "abcdef-ghijkl-mnopqr"
	hide := private{}.hide(token, "[token]").hide(testSecret, "[secret]").hideMessage("secret of \"all\" the coffee")
	for text, want := range map[string]string{
		"plain":                            "plain",
		" two\r\n\tlines ":                 "two lines",
		"a\x00b\x1b[31mc\u202ed":           "a?b?[31mc?d",
		"bad \xff utf8":                    "bad ? utf8",
		"コーヒー":                             "コーヒー",
		"Bearer " + token + "!":            "Bearer [token]!",
		"client_secret=" + testSecret:      "client_secret=[secret]",
		"s=s3cr3t%2Fof%2Bthe+client&x":     "s=[secret]&x",
		"Bearer " + token[:12]:             "Bearer",
		`m "secret of \"all\" the coffee"`: `m "[message]"`,
		`m secret of "all" the coffee`:     `m [message]`,
	} {
		if got := hide.excerpt(text, maxDetail); got != want {
			t.Errorf("excerpt(%q) = %q, want %q", text, got, want)
		}
	}
	// A part that is private by itself must not show the rest of the whole.
	if got := (private{}).hideMessage("abcdef-ghijkl").hide(token, "[token]").excerpt(token, 99); got != "[token]" {
		t.Errorf("got %q", got)
	}
	if got := (private{}).hide("\xff\xfe-secret", "[secret]").excerpt("plain", 99); got != "plain" {
		t.Errorf("a secret that is not UTF-8: got %q", got)
	}
	long := oneLine(strings.Repeat("コ", 1000), maxDetail)
	if len(long) > maxDetail || !utf8.ValidString(long) || len(long) < maxDetail-3 {
		t.Errorf("cut to %d bytes", len(long))
	}
	if got := oneLine("ab cd", 3); got != "ab" {
		t.Errorf("got %q", got)
	}
}
