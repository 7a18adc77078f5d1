package term

import (
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
		{Plain("a\x1b[31m\n\u202eb"), "a\uFFFD[31m\uFFFD\uFFFDb"},
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
	if b.Len() > 0 {
		t.Errorf("printed %q", b.String())
	}
}
