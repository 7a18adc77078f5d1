package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// sameAsPlain decodes a list of recipients by hand and as a plain []string, alone and as a member,
// and demands that both ways agree: on the strings, or on what is wrong and where.
func sameAsPlain(t *testing.T, list string) {
	t.Helper()
	hand, plain := recipientList{"from before"}, []string{"from before"}
	compareDecoded(t, list, json.Unmarshal([]byte(list), &hand), json.Unmarshal([]byte(list), &plain), hand, plain)

	member := `{"a":[{},{"woven_ids":` + list + `}]}`
	var byHand struct {
		A []struct {
			WovenIDs recipientList `json:"woven_ids"`
		} `json:"a"`
	}
	var byThem struct {
		A []struct {
			WovenIDs []string `json:"woven_ids"`
		} `json:"a"`
	}
	handErr, plainErr := json.Unmarshal([]byte(member), &byHand), json.Unmarshal([]byte(member), &byThem)
	if len(byHand.A) == 2 && len(byThem.A) == 2 {
		hand, plain = byHand.A[1].WovenIDs, byThem.A[1].WovenIDs
	}
	compareDecoded(t, member, handErr, plainErr, hand, plain)
}

func compareDecoded(t *testing.T, text string, handErr, plainErr error, hand, plain []string) {
	t.Helper()
	if (handErr == nil) != (plainErr == nil) {
		t.Fatalf("%.300q decoded by hand: %v; plainly: %v", text, handErr, plainErr)
	}
	if handErr == nil {
		if !slices.Equal(hand, plain) || (hand == nil) != (plain == nil) {
			t.Fatalf("%.300q decoded by hand is %.300q, plainly %.300q", text, hand, plain)
		}
		return
	}
	var wrong, want *json.SemanticError
	if !jsontext.Value(text).IsValid() {
		return // either may notice first that it is no JSON, or that a kind is wrong
	}
	if !errors.As(handErr, &wrong) || !errors.As(plainErr, &want) {
		t.Fatalf("%.300q decoded by hand: %v; plainly: %v", text, handErr, plainErr)
	}
	if wrong.JSONPointer != want.JSONPointer || wrong.JSONKind != want.JSONKind {
		t.Fatalf("%.300q: by hand a %v is wrong at %s, plainly a %v at %s", text, wrong.JSONKind, wrong.JSONPointer, want.JSONKind, want.JSONPointer)
	}
}

// pieces of which lists are made, good and bad.
var pieces = []string{
	`"a"`, `"w-1"`, `""`, `null`, `"☕"`, `"😀"`, `"a,b"`, `"]"`, `"["`, `"{}"`, `","`, `", "`, `"null"`, `"7"`, `" "`,
	`"\""`, `"\\"`, `"\\\\"`, `"\\\""`, `"\"a"`, `"a\""`, `"\\a"`, `"a\\"`, `"\"\""`, `"\\\\\""`, `"\","`, `"\"]"`, `"a\"b\"c"`, `"\\,\\"`,
	`"\u0000"`, `"\u0022"`, `"\u005c"`, `"\u005C\u0022"`, `"\ud83d\ude00"`, `"x\ud83d\ude00\""`, `"\/\b\f\n\r\t"`, `"A\u00e9"`, `"\u2028"`,
}

// badPieces are no recipients, or no JSON.
var badPieces = []string{
	`7`, `-1.5e3`, `0`, `true`, `false`, `{}`, `{"a":"]"}`, `[]`, `["a"]`, `[["a"],"]"]`, `{"n":[null]}`,
	`"\ud83d"`, `"\ude00"`, `"\ud83dx"`, `"\x"`, `"\u12"`, "\"\xff\"", "\"\n\"", `"a`, `a`, `nul`, `nulls`, `"a""b"`, `,`, `]`, `{`, `'a'`, `"a"]`, `\"a"`,
}

var spaces = []string{"", "", "", " ", "\t", "\n", "\r\n", "  \t "}

func TestRecipientsAreDecodedAsPlainStrings(t *testing.T) {
	for _, list := range append([]string{
		"", "null", " null ", "nul", "[]", " [ ] ", "[\n]", "[,]", "[", "]", "{}", `"a"`, "7", "true", `["a"`, `["a",`, `["a",]`, `["a" "b"]`, `[]]`, `[] []`, `["a"],`,
		`["` + strings.Repeat("x", 100_000) + `"]`, `["` + strings.Repeat(`\"`, 50_000) + `"]`, `[` + strings.Repeat(`"a",`, 20_000) + `null]`,
	}, append(slices.Clone(pieces), badPieces...)...) {
		sameAsPlain(t, list)
	}
	for _, p := range append(slices.Clone(pieces), badPieces...) {
		for _, around := range []string{`[%s]`, `["a",%s]`, `[%s,"b"]`, `["a" , %s , "\\"]`, `["\"", %s]`, "[null,%s\n]", `[%[1]s,%[1]s]`} {
			sameAsPlain(t, fmt.Sprintf(around, p))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	one := func(list []string) string { return list[r.IntN(len(list))] }
	for range 10_000 {
		var b strings.Builder
		b.WriteString(one(spaces) + "[")
		for i := range r.IntN(12) {
			if i > 0 {
				b.WriteString(one(spaces) + ",")
			}
			b.WriteString(one(spaces))
			if r.IntN(60) == 0 {
				b.WriteString(one(badPieces))
			} else {
				b.WriteString(one(pieces))
			}
		}
		b.WriteString(one(spaces) + "]" + one(spaces))
		sameAsPlain(t, b.String())
	}
}

// The error says which of the recipients is wrong, and how.
func TestWrongRecipientIsNamed(t *testing.T) {
	kinds := map[string]string{`7`: "number", `-0.5`: "number", `true`: "true", `false`: "false", `{"a":"]"}`: "", `["a,b"]`: ""} // of these the decoder's names are brackets
	for at := range 12 {
		for value, kind := range kinds {
			ids := make([]string, 12)
			for i := range ids {
				ids[i] = []string{`"a"`, `"a,\"]"`, `null`, `"\\"`}[i%4]
			}
			ids[at] = value
			_, err := DecodeJob([]byte(with("woven_ids", "[ "+strings.Join(ids, " ,\n")+"]")))
			want := fmt.Sprintf("invalid job: woven_ids/%d: must be a string, not a JSON %s", at, kind)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("recipient %d is %s: %v, want %q", at, value, err, want)
			}
		}
	}
	for value, kind := range map[string]string{`7`: "number", `true`: "true", `{}`: "", `"w"`: "string"} {
		_, err := DecodeJob([]byte(with("woven_ids", value)))
		want := "invalid job: woven_ids: must be an array of strings, not a JSON " + kind
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("recipients are %s: %v, want %q", value, err, want)
		}
	}
}

// What follows the recipients in a job is decoded as if they were a plain list.
func TestMembersAfterRecipients(t *testing.T) {
	for _, list := range []string{`["a"]`, ` [ "a\"]" , "\\" ] `, `["]", "},{"]`} {
		j, err := DecodeJob([]byte(`{"woven_ids":` + list + `,"message":"m","project_id":"` + projectA + `","id":"x"}`))
		var want []string
		if err := json.Unmarshal([]byte(list), &want); err != nil {
			t.Fatal(err)
		}
		if err != nil || j.ID != "x" || j.Message != "m" || j.ProjectID != projectA || !slices.Equal(j.WovenIDs, want) {
			t.Errorf("with %s: %+v, %v", list, j, err)
		}
	}
}

// FuzzRecipients compares decoding by hand with the plain way.
func FuzzRecipients(f *testing.F) {
	for i, p := range append(slices.Clone(pieces), badPieces...) {
		f.Add(p)
		f.Add("[" + p + ", " + pieces[i%len(pieces)] + "]")
	}
	f.Fuzz(func(t *testing.T, list string) {
		if len(list) > 1<<16 {
			return
		}
		sameAsPlain(t, list)
	})
}

// uniqueByMap is unique in the plainest way.
func uniqueByMap(ids []string) []string {
	seen, kept := map[string]bool{}, []string{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			kept = append(kept, id)
		}
	}
	return kept
}

func TestUniqueKeepsTheFirstOfEach(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	check := func(ids []string) {
		t.Helper()
		want := uniqueByMap(ids)
		given := slices.Clone(ids)
		if got := unique(given); !slices.Equal(got, want) {
			t.Fatalf("of %d, %d different: unique kept %d: %.500q; given %.500q", len(ids), len(want), len(got), got, ids)
		}
	}
	check(nil)
	for _, n := range []int{1, 2, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 499, 500, 501, 511, 512, 513, 1000} {
		for _, different := range []int{1, 2, 3, n/2 + 1, n, 10 * n, 1000 * n} {
			for range 8 {
				ids := make([]string, n)
				for i := range ids {
					ids[i] = fmt.Sprint("w-", r.IntN(different))
				}
				check(ids)
			}
		}
		// Nobody twice, everybody the same, all twice in a row, and one after all others; also such as
		// differ in nothing but their length, or are empty.
		ids := make([]string, n)
		for i := range ids {
			ids[i] = strings.Repeat("x", i)
		}
		check(ids)
		check(slices.Repeat([]string{"w"}, n))
		check(slices.Concat(ids, ids))
		check(append(slices.Clone(ids), ids[r.IntN(n)]))
	}
}

// The recipients are filtered where they stand: the result shares the memory of what was given.
func TestUniqueWorksInPlace(t *testing.T) {
	for _, n := range []int{8, 9, 500} {
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprint("w-", i/2)
		}
		kept := unique(ids)
		if len(kept) != (n+1)/2 || &kept[0] != &ids[0] {
			t.Errorf("of %d %d were kept, in other memory: %v", n, len(kept), &kept[0] != &ids[0])
		}
	}
}
