package term

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	var b strings.Builder
	if err := PrintJSON(&b, map[string]string{"a": "<b>\n"}); err != nil || b.String() != `{"a":"<b>\n"}`+"\n" {
		t.Errorf("JSON: %q, %v", b.String(), err)
	}
	for _, c := range [][2]string{
		{Clip("žluťoučký", 5), "žluť…"}, {Clip("žluť", 4), "žluť"},
		{Counted(0, "job"), "0 jobs"}, {Counted(1, "job"), "1 job"},
		{Thousands(-1234567), "-1,234,567"}, {Thousands(-123), "-123"}, {Thousands(999), "999"}, {Thousands(1000), "1,000"},
		{Age(0), "-"}, {Age(1234 * time.Millisecond), "1.2s"}, {Age(90 * time.Second), "1m30s"}, {Age(49 * time.Hour), "2d"},
	} {
		if c[0] != c[1] {
			t.Errorf("%q, want %q", c[0], c[1])
		}
	}
}

func TestPlain(t *testing.T) {
	for _, c := range [][2]string{
		{"a\x1b[31m\r\n\tb\x00\x7f", `a\u001b[31m\r\n\tb\u0000\u007f`},
		{"\u0085 \u009b31m", `\u0085 \u009b31m`}, // NEL and CSI, of the second set of control characters
		{"\u202ea\u202c\u2066b\u2069\u200f\u200e\u061c", `\u202ea\u202c\u2066b\u2069\u200f\u200e\u061c`},
		{"w\u200b1\ufeff\u2060\u00ad\u180e\u2028\u2029\u3164", `w\u200b1\ufeff\u2060\u00ad\u180e\u2028\u2029\u3164`},
		{"x\U000E0041\U0001D173", `x\udb40\udc41\ud834\udd73`},
		{"a\xffb\x9b31m\xed\xa0\x80", "a\uFFFDb\uFFFD31m\uFFFD"},
		// A joiner stays between what it can join, and nowhere else.
		{"👩\u200d🚀 🏳️\u200d🌈 می\u200cخواهم क्\u200dष", "👩\u200d🚀 🏳️\u200d🌈 می\u200cخواهم क्\u200dष"},
		{"w-1\u200d w\u200c1 é\u200dé \u200d👩 👩\u200d\u200d🚀", `w-1\u200d w\u200c1 é\u200dé \u200d👩 👩\u200d\u200d🚀`},
		{"ž e\u0301 שלום مرحبا ☕️ 🇨🇿 👍🏽 日本 \u0600\u00a0", "ž e\u0301 שלום مرحبا ☕️ 🇨🇿 👍🏽 日本 \u0600\u00a0"},
		{`\u202e`, `\u202e`}, {"", ""},
	} {
		if got := Plain(c[0]); got != c[1] {
			t.Errorf("%q became %q, want %q", c[0], got, c[1])
		}
	}
	if got := PlainLines("a\x1b\n\u202eb"); got != `a\u001b`+"\n"+`\u202eb` {
		t.Errorf("lines %q", got)
	}
}

// What is not a terminal gets neither colours nor a bar.
func TestNoTerminal(t *testing.T) {
	var b strings.Builder
	if got := Paint(&b, Red, "no"); got != "no" {
		t.Errorf("painted %q", got)
	}
	for _, p := range []*Progress{CountProgress(&b, 2, "x"), BytesProgress(&b, -1, "x")} {
		p.Describe("y")
		p.Add(1)
		p.Set(2)
		p.Clear()
		p.Finish()
	}
	if Guard(&b) != io.Writer(&b) {
		t.Error("what is no terminal is guarded")
	}
	if b.Len() > 0 {
		t.Errorf("printed %q", b.String())
	}
}
