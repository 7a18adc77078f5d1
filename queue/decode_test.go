package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// with is the JSON of a good job in which one member is replaced, or added.
func with(member, value string) string {
	members := []string{"project_id", `"` + projectA + `"`, "message", `"m"`, "woven_ids", `["w"]`}
	known := false
	for i := 0; i < len(members); i += 2 {
		if members[i] == member {
			members[i+1], known = value, true
		}
	}
	if !known {
		members = append(members, member, value)
	}
	var b strings.Builder
	for i := 0; i < len(members); i += 2 {
		fmt.Fprintf(&b, ",%q:%s", members[i], members[i+1])
	}
	return "{" + b.String()[1:] + "}"
}

func garbage(n int) string {
	r := rand.NewChaCha8([32]byte{7})
	b := make([]byte, n)
	_, _ = r.Read(b) // never fails
	return string(b)
}

func TestDecodeJobRefuses(t *testing.T) {
	for _, c := range []struct{ name, payload, mentions string }{
		{"nothing", "", "empty"},
		{"binary", "\x00\x01\xfe\xff\x80", "JSON"},
		{"gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00", "JSON"},
		{"nearly 1 MiB of garbage", garbage(1<<20 - 100), "JSON"},
		{"nearly 1 MiB of one string", `"` + strings.Repeat("x", 1<<20-100) + `"`, "object"},
		{"null", "null", "project_id"},
		{"a string", `"job"`, "object"},
		{"a number", "17", "object"},
		{"an array", "[" + with("", "1") + "]", "object"},
		{"deep nesting", strings.Repeat("[", 100_000), ""},
		{"deep nesting in a member", with("message", strings.Repeat(`{"a":`, 50_000)), ""},
		{"cut off", with("message", `"m"`)[:60], "JSON"},
		{"trailing document", with("message", `"m"`) + with("message", `"m"`), "JSON"},
		{"trailing comma", `{"project_id":"` + projectA + `",}`, "JSON"},
		{"unknown member", with("priority", `"urgent"`), "priority"},
		{"unknown member with a long name", with(strings.Repeat("n", 500), `1`), "nnn"},
		{"unknown member with a line break", with("a\nb", `1`), "unknown member"},
		{"member in other case", with("Message", `"m"`), "Message"},
		{"member in capitals", with("WOVEN_IDS", `["w"]`), "WOVEN_IDS"},
		{"duplicate member", `{"message":"a","message":"b"}`, "message"},
		{"invalid UTF-8", with("message", "\"a\xffb\""), "UTF-8"},
		{"unpaired surrogate", with("message", `"a\ud83dz"`), "surrogate"},
		{"id a number", with("id", "17"), "id"},
		{"id an object", with("id", "{}"), "id"},
		{"id with a space", with("id", `"a b"`), "id"},
		{"id with a dot", with("id", `"a.b"`), "id"},
		{"id with a line break", with("id", `"a\nb"`), "id"},
		{"id beyond ASCII", with("id", `"ä"`), "id"},
		{"id too long", with("id", `"`+strings.Repeat("i", 129)+`"`), "id"},
		{"project a number", with("project_id", "4"), "project_id"},
		{"project null", with("project_id", "null"), "project_id"},
		{"project empty", with("project_id", `""`), "project_id"},
		{"project a name", with("project_id", `"coffee"`), "project_id"},
		{"project in braces", with("project_id", `"{`+projectA+`}"`), "project_id"},
		{"project as a urn", with("project_id", `"urn:uuid:`+projectA+`"`), "project_id"},
		{"project without hyphens", with("project_id", `"`+strings.ReplaceAll(projectA, "-", "")+`"`), "project_id"},
		{"project with wildcards", with("project_id", `"`+strings.ReplaceAll(projectA, "-", "*")+`"`), "project_id"},
		{"message empty", with("message", `""`), "message"},
		{"message null", with("message", "null"), "message"},
		{"message a boolean", with("message", "true"), "message"},
		{"message an array", with("message", `["m"]`), "message"},
		{"recipients empty", with("woven_ids", "[]"), "woven_ids"},
		{"recipients null", with("woven_ids", "null"), "woven_ids"},
		{"recipients a string", with("woven_ids", `"w"`), "woven_ids"},
		{"recipients an object", with("woven_ids", `{"w":1}`), "woven_ids"},
		{"a recipient empty", with("woven_ids", `["a",""]`), "woven_ids[1]"},
		{"a recipient null", with("woven_ids", `["a",null]`), "woven_ids[1]"},
		{"a recipient a number", with("woven_ids", `["a",7]`), "woven_ids/1"},
		{"a recipient an array", with("woven_ids", `[["a"]]`), "woven_ids/0"},
		{"deliver_at a number", with("deliver_at", "1795420800"), "deliver_at"},
		{"deliver_at a date", with("deliver_at", `"2026-11-23"`), "deliver_at"},
		{"deliver_at without a zone", with("deliver_at", `"2026-11-23T09:00:00"`), "deliver_at"},
		{"deliver_at with a space", with("deliver_at", `"2026-11-23 09:00:00Z"`), "deliver_at"},
		{"deliver_at empty", with("deliver_at", `""`), "deliver_at"},
		{"expires_at in month 13", with("expires_at", `"2026-13-23T09:00:00Z"`), "expires_at"},
		{"expires_at in words", with("expires_at", `"tomorrow"`), "expires_at"},
		{"expires_at an object", with("expires_at", "{}"), "expires_at"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeJob([]byte(c.payload))
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v, want one that matches ErrInvalid", err)
			}
			text := err.Error()
			if !strings.Contains(text, c.mentions) {
				t.Errorf("%q does not mention %q", text, c.mentions)
			}
			for _, unwanted := range []string{"\n", "\r", "\x00", "queue.", "Go ", "time.Time", "[]string", "struct", "json:", "jsontext", "2006"} {
				if strings.Contains(text, unwanted) {
					t.Errorf("%q holds %q", text, unwanted)
				}
			}
			if len(text) > 400 {
				t.Errorf("a message of %d bytes: %q", len(text), text)
			}
		})
	}
}

func TestDecodeJobAccepts(t *testing.T) {
	for _, c := range []struct {
		name, payload, message string
		ids                    []string
	}{
		{"emoji", with("message", `"☕ \ud83d\ude00 ready"`), "☕ 😀 ready", []string{"w"}},
		{"control characters", with("message", `"\u0001\u0000\t"`), "\x01\x00\t", []string{"w"}},
		{"HTML", with("message", `"<b>&amp;</b>"`), "<b>&amp;</b>", []string{"w"}},
		{"white space around", " \n" + with("message", `"m"`) + "\t\n", "m", []string{"w"}},
		{"odd recipients", with("woven_ids", `["w.1","w 2","a/b","*",">","ä"," "]`), "m", []string{"w.1", "w 2", "a/b", "*", ">", "ä", " "}},
		{"recipient named three times", with("woven_ids", `["b","a","b","c","b"]`), "m", []string{"b", "a", "c"}},
		{"many recipients named twice", with("woven_ids", `["9","8","7","6","5","4","3","2","1","9","1","0"]`), "m", []string{"9", "8", "7", "6", "5", "4", "3", "2", "1", "0"}},
		{"no id", with("id", `""`), "m", []string{"w"}},
		{"longest id", with("id", `"`+strings.Repeat("_", 128)+`"`), "m", []string{"w"}},
		{"times", with("deliver_at", `"2026-11-23T09:00:00.123+01:00"`), "m", []string{"w"}},
		{"times absent", with("expires_at", "null"), "m", []string{"w"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := DecodeJob([]byte(c.payload))
			if err != nil {
				t.Fatal(err)
			}
			if j.Message != c.message || !slices.Equal(j.WovenIDs, c.ids) {
				t.Errorf("decoded %+v", j)
			}
		})
	}
}

// A job that expires before it is due can be read, so that its recipients are buried by name, but not
// be published.
func TestUndeliverable(t *testing.T) {
	const at = "2026-11-23T09:00:00Z"
	for _, c := range []struct {
		deliver, expires string
		never            bool
	}{
		{`"` + at + `"`, `"2026-11-23T08:59:59Z"`, true},
		{`"` + at + `"`, `"` + at + `"`, true},
		{`"` + at + `"`, `"2026-11-23T10:00:00+01:00"`, true}, // the same instant
		{`"` + at + `"`, `"2026-11-23T09:00:00.001Z"`, false},
		{`"` + at + `"`, "null", false},
		{"null", `"` + at + `"`, false},
	} {
		j, err := DecodeJob([]byte(with("deliver_at", c.deliver+`,"expires_at":`+c.expires)))
		if err != nil {
			t.Fatal(err)
		}
		err = j.Validate()
		if j.Undeliverable() != nil != c.never || errors.Is(err, ErrInvalid) != c.never {
			t.Errorf("deliver_at %s, expires_at %s: %v, %v", c.deliver, c.expires, j.Undeliverable(), err)
		}
		if c.never && (!strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), strings.Trim(c.expires, `"`))) {
			t.Errorf("%q does not name both times", err)
		}
	}
}

func FuzzDecodeJob(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", "[]", with("message", `"☕"`), with("id", `"a-1"`), with("woven_ids", `["a","b","a"]`),
		with("deliver_at", `"2026-11-23T09:00:00.5+01:00"`), with("expires_at", `"9999-12-31T23:59:59-23:59"`),
		with("expires_at", `"0000-01-01T00:00:00+23:59"`), with("message", `"\u0001\ud83d\ude00"`), with("message", "\"\xff\""), with("x", "1"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := DecodeJob(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("error %q", err)
			}
			return
		}
		if err := j.Validate(); err != nil && j.Undeliverable() == nil {
			t.Fatalf("decoded an invalid job: %v", err)
		}
		seen := map[string]bool{}
		for _, id := range j.WovenIDs {
			if seen[id] {
				t.Fatalf("recipient %q twice", id)
			}
			seen[id] = true
		}
		again, err := j.encode()
		if err != nil {
			t.Fatalf("encode %+v: %v", j, err)
		}
		if len(again) > len(data) && len(data) < 1<<20 && len(again) > len(data)+len(`{"id":"","deliver_at":"","expires_at":"",}`)+100 {
			t.Fatalf("grew from %d to %d bytes", len(data), len(again))
		}
		k, err := DecodeJob(again)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		if !j.DeliverAt.Equal(k.DeliverAt) || !j.ExpiresAt.Equal(k.ExpiresAt) {
			t.Fatalf("times of %s differ from %s", again, data)
		}
		j.DeliverAt, j.ExpiresAt = k.DeliverAt, k.ExpiresAt // the zones may differ in name
		if !reflect.DeepEqual(j, k) {
			t.Fatalf("%+v became %+v", j, k)
		}
	})
}

func BenchmarkDecodeJob(b *testing.B) {
	for _, n := range []int{1, 10, 500} {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprintf("w-%d-0f8fad5b", i)
		}
		data, err := job("order-8731-ready", "Your coffee is ready.", ids...).encode()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint("recipients=", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeJob(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestTriesOfSomeRecipients(t *testing.T) {
	all := []Tried{{3, 1}, {2, 0}, {4, 2}}
	for _, c := range []struct {
		from, recipients int
		want             []Tried
	}{
		{0, 9, all},
		{0, 3, []Tried{{3, 1}}},
		{1, 3, []Tried{{2, 1}, {1, 0}}},
		{4, 2, []Tried{{1, 0}, {1, 2}}},
		{8, 5, []Tried{{1, 2}}},
		{9, 1, nil},
	} {
		if got := triedOf(all, c.from, c.recipients); !slices.Equal(got, c.want) {
			t.Errorf("of %d from %d on: %v, want %v", c.recipients, c.from, got, c.want)
		}
	}
}
