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
		"Bearer " + token[:12]:             "Bearer [token]",
		"Bearer " + token[:7]:              "Bearer",
		"Bearer " + token[4:14] + ".":      "Bearer [token].",
		`m "secret of \"all\" the coffee"`: `m "[message]"`,
		`m secret of "all" the coffee`:     `m [message]`,

		// As servers echo it.
		`<p>secret of &quot;all&quot; the coffee</p>`:            `<p>[message]</p>`,
		`secret of &#34;all&#34; the coffee.`:                    `[message].`,
		`secret of &#x22;all&#X22; the coffee.`:                  `[message].`,
		`secret of &amp;quot;all&amp;quot; the coffee.`:          `[message].`,
		`{"m":"secret of \u0022all\u0022 the coffee"}`:           `{"m":"[message]"}`,
		`{"m":"secret&#x20;of \\\"all\\\"\n the coffee"}`:        `{"m":"[message]"}`,
		`m=secret+of+%22all%22+the+coffee&p=1`:                   `m=[message]&p=1`,
		`m=secret%20of%20%22ALL%22%20the%20coffee&p=1`:           `m=[message]&p=1`,
		"secret of \"all\"\n\tthe coffee is too long":            "[message] is too long",
		`at 'secret of "all" the…'`:                              `at '[message]…'`,
		`near ...ret of "all" the coff...`:                       `near ...[message]...`,
		`secret of "all" the coffee, secret of "all" the coffee`: `[message], [message]`,
		`message "secret of \"all\"…" is too long`:               `message "[message]…" is too long`,
		"the secret coffee of all":                               "the secret coffee of all", // no long part of it
		`100 % of &c. and C:\up &unknown; %zz \u12`:              `100 % of &c. and C:\up &unknown; %zz \u12`,
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
	for message, echo := range map[string]string{
		"日本語のコーヒー ☕ 😀":           `"\u65E5\u672c\u8a9e\u306e\u30b3\u30fc\u30d2\u30fc \u2615 \ud83d\ude00"`,
		"<b>50% off</b> & more":  `"\u003cb\u003e50% off\u003c/b\u003e \u0026 more"`,
		"Tom &amp; Jerry <3 you": `"Tom &amp;amp; Jerry &lt;3 you"`,
		`C:\new "table"`:         `"C:\\new \"table\""`,
		"été à la plage":         `"%C3%A9t%C3%A9%20%C3%A0%20la%20plage"`,
		"smile \U0001F600 at me": `"smile \U0001f600 at me"`,
		"ディナー":                   `"&#12487;&#12451;&#12490;&#12540;"`,
	} {
		if got := (private{}).hideMessage(message).excerpt(echo+" is bad", maxDetail); got != `"[message]" is bad` {
			t.Errorf("the echo of %q gives %q", message, got)
		}
	}
	// Of what is shorter than a few letters nothing would be left of any text.
	short := private{}.hide("a", "[secret]").hide("b++ ", "[secret]").hideMessage("short").hideMessage("a        ").hideMessage("").hide("   +  ", "[secret]")
	if got := short.excerpt("a short banana", 99); got != "a short banana" {
		t.Errorf("short texts: %q", got)
	}
	if got := (private{}).hide("abcd", "[secret]").excerpt("abcd.", 99); got != "[secret]." {
		t.Errorf("a secret of four letters: %q", got)
	}
	repeated := strings.Repeat("coffee now! ", 400)
	if got := (private{}).hideMessage(repeated).excerpt("bad: "+repeated+".", 99); got != "bad: [message] ." {
		t.Errorf("a text that repeats itself: %q", got)
	}
	long := oneLine(strings.Repeat("コ", 1000), maxDetail)
	if len(long) > maxDetail || !utf8.ValidString(long) || len(long) < maxDetail-3 {
		t.Errorf("cut to %d bytes", len(long))
	}
	if got := oneLine("ab cd", 3); got != "ab" {
		t.Errorf("got %q", got)
	}
}
