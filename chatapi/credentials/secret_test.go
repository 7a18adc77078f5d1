package credentials

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/chatrelay/chatrelay/chatapi"
)

const goodSecret = "s3cr3t/of+the client"

// utf16Text is text as Windows PowerShell's > writes it, but for the byte order mark.
func utf16Text(text string, bigEndian bool) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(text)) {
		low, high := byte(unit), byte(unit>>8)
		if bigEndian {
			low, high = high, low
		}
		b.WriteByte(low)
		b.WriteByte(high)
	}
	return b.String()
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		text string
		err  string // "": the good secret is read
	}{
		"plain":               {goodSecret, ""},
		"line end":            {goodSecret + "\n", ""},
		"CRLF":                {goodSecret + "\r\n", ""},
		"blanks around":       {" \n\t" + goodSecret + " \r\n\n", ""},
		"BOM":                 {"\ufeff" + goodSecret + "\r\n", "line 1, byte 1: it begins with a byte order mark (BOM), which would be sent as part of the secret: save it as UTF-8 without one"},
		"BOM at the end":      {goodSecret + "\ufeff", "line 1, byte 21: the character U+FEFF cannot be seen"},
		"UTF-16LE":            {"\xff\xfe" + utf16Text(goodSecret+"\r\n", false), "line 1, byte 1: it is UTF-16"},
		"UTF-16BE":            {"\xfe\xff" + utf16Text(goodSecret, true), "line 1, byte 1: it is UTF-16"},
		"UTF-16LE, no BOM":    {utf16Text(goodSecret, false), "line 1, byte 2: a NUL byte"},
		"UTF-16BE, no BOM":    {utf16Text(goodSecret, true), "line 1, byte 1: a NUL byte"},
		"NUL":                 {goodSecret + "\x00", "line 1, byte 21: a NUL byte"},
		"zero-width space":    {goodSecret + "\u200b", "line 1, byte 21: the character U+200B cannot be seen and is not part of it: type it anew"},
		"zero-width joiner":   {"s3cr\u200d3t", "line 1, byte 5: the character U+200D"},
		"soft hyphen":         {"s3cr\u00ad3t", "byte 5: the character U+00AD"},
		"no-break space":      {"s3cr3t\u00a0", "byte 7: the character U+00A0"},
		"wide space":          {"\u3000s3cr3t", "byte 1: the character U+3000"},
		"bidirectional":       {"s3\u202ecr3t", "byte 3: the character U+202E"},
		"variation selector":  {"s3cr3t\ufe0f", "byte 7: the character U+FE0F"},
		"Hangul filler":       {"s3cr3t\u3164", "byte 7: the character U+3164"},
		"braille blank":       {"s3cr3t\u2800", "byte 7: the character U+2800"},
		"tab inside":          {"s3cr\t3t", "byte 5: the character U+0009"},
		"escape":              {"s3cr\x1b[0m3t", "byte 5: the character U+001B"},
		"DEL":                 {"s3cr3t\x7f", "byte 7: the character U+007F"},
		"C1":                  {"s3cr3t\u0085", "byte 7: the character U+0085"},
		"two lines":           {goodSecret + "\nold-secret\n", "line 1, byte 21: the line ends and another begins"},
		"two lines, CR":       {goodSecret + "\rold-secret", "line 1, byte 21: the line ends and another begins"},
		"on the third line":   {"\n\n s3cr3t\u200b\n", "line 3, byte 8: the character U+200B"},
		"line separator":      {"s3cr3t\u2028old", "byte 7: the character U+2028"},
		"not UTF-8":           {"s3cr\xfc3t", "line 1, byte 5: it is not UTF-8"},
		"converted":           {"s3cr\ufffd3t", "line 1, byte 5: it is not UTF-8, or lost a character"},
		"quoted":              {`"` + goodSecret + "\"\n", "line 1, byte 1: it stands in quotes"},
		"single quotes":       {"'s3cr3t'", "it stands in quotes"},
		"typographic quotes":  {"“s3cr3t”", "it stands in quotes"},
		"quotes, nothing":     {`""`, "it stands in quotes"},
		"empty":               {"", "it is empty"},
		"blank":               {" \r\n", "it is empty"},
		"too long":            {strings.Repeat("x", maxSecretFile+1), "is longer than 65536 bytes"},
		"an apostrophe first": {"'s3cr3t", "="},
		"quotes inside":       {`s3"cr"3t`, "="},
		"one quote":           {`"`, "="},
		"letters":             {"pässwörd-日本", "="},
		"all of ASCII":        {"!#$%&()*+,-./:;<=>?@[]^_{|}~", "="},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, dir, "secret", tc.text)
			got, err := ReadSecret(path)
			switch {
			case tc.err == "" || tc.err == "=":
				want := goodSecret
				if tc.err == "=" {
					want = tc.text
				}
				if err != nil || got != want {
					t.Errorf("%q, %v; want %q", got, err, want)
				}
			case err == nil || got != "" || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), tc.err):
				t.Errorf("%q, %v; want %s: %s", got, err, path, tc.err)
			case strings.Contains(err.Error()[len(path):], "s3") || strings.Contains(err.Error()[len(path):], "old-"):
				t.Errorf("the error holds a part of the secret: %v", err)
			}
		})
	}
}

func TestClientIDs(t *testing.T) {
	for id, want := range map[string]string{
		"my-client": "", "https://my.example/client_1": "", "": "", "クライアント": "",
		"my-client\r":   "byte 10: the character U+000D cannot be part of a client id: remove it",
		"my-client\n":   "byte 10: the character U+000A",
		"my-client ":    "byte 10: the character U+0020",
		" my-client":    "byte 1: the character U+0020",
		"my client":     "byte 3: the character U+0020",
		"my\tclient":    "byte 3: the character U+0009",
		"my\u00a0c":     "byte 3: the character U+00A0",
		"\ufeffmy":      "byte 1: the character U+FEFF",
		"my\u200bc":     "byte 3: the character U+200B",
		"my\x00":        "byte 3: a NUL byte",
		"my\x1b[31m":    "byte 3: the character U+001B",
		"my\xff":        "byte 3: it is not UTF-8",
		`"my-client"`:   "byte 1: it stands in quotes",
		"my\u200bc lie": "byte 3: the character U+200B",
	} {
		err := CheckClientID(id)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", id, err, want)
		}
	}
}

// The secret for the projects that no file names is read again like all others, and what is wrong with
// one file leaves the other alone.
func TestWatchSecretFile(t *testing.T) {
	t.Parallel() // it waits for the polls
	api, dir := office(t), t.TempDir()
	write(t, dir, "s0", "hush-0")
	secret := write(t, dir, "s2", "hush-2")
	file := write(t, dir, "c.yaml", entry(0, "client-0", "s0"))
	c, err := New(chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL(), ClientID: "client-2", ClientSecret: "hush-2"}, file, secret)
	if err != nil {
		t.Fatal(err)
	}
	events, again := make(chan Event, 10), make(chan os.Signal, 1)
	go c.Watch(t.Context(), again, func(e Event) { events <- e })
	reloaded := func(want Reloaded) {
		t.Helper()
		if got := next[Reloaded](t, events); !reflect.DeepEqual(got, want) {
			t.Errorf("reloaded %+v, want %+v", got, want)
		}
	}
	fails := func(file string) {
		t.Helper()
		if got := next[ReloadFailed](t, events); got.File != file {
			t.Errorf("%+v, want it of %s", got, file)
		}
	}
	if sends(t, c, 2) != "" || sends(t, c, 0) != "" || c.Credential(project(2)) == c.Credential(project(0)) || c.Credential(project(2)) != c.Credential(project(9)) || c.SecretFile() != secret {
		t.Error("it does not work before anything changed")
	}
	write(t, dir, "s2", "hush-y")
	reloaded(Reloaded{Rest: true})
	if e := next[NoToken](t, events); e.Project != "" || chatapi.KindOf(e.Err) != chatapi.Credential {
		t.Errorf("%+v", e)
	}
	if sends(t, c, 2) != chatapi.Credential || sends(t, c, 0) != "" {
		t.Error("the changed secret is not used, or for others too")
	}
	write(t, dir, "s2", "\ufeffhush-2") // what cannot be a secret changes nothing
	fails(secret)
	write(t, dir, "c.yaml", "oops")
	fails(file)
	write(t, dir, "s2", "hush-2\r\n") // and neither do they hold up each other
	reloaded(Reloaded{Rest: true})
	if sends(t, c, 2) != "" || sends(t, c, 0) != "" {
		t.Error("the secret is not used while the other file is wrong")
	}
	again <- syscall.SIGHUP
	fails(file)
	write(t, dir, "c.yaml", entry(0, "client-0", "s0"))
	reloaded(Reloaded{})
	if err := os.Remove(secret); err != nil {
		t.Fatal(err)
	}
	fails(secret)
	if sends(t, c, 2) != "" || len(events) > 0 {
		t.Error("the secret read before is not used any more")
	}
}

// What a shell makes of <(command) can be read only once.
func TestPipeIsNotWatched(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	c, err := New(chatapi.Config{ClientID: "client-2", ClientSecret: "hush-2"}, "", pipe)
	if err != nil || c.SecretFile() != "" {
		t.Errorf("%v, watches %q", err, c.SecretFile())
	}
	events, again := make(chan Event, 10), make(chan os.Signal, 1)
	go c.Watch(t.Context(), again, func(e Event) { events <- e })
	again <- syscall.SIGHUP
	next[NoFile](t, events)
}
