package chatapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

func recipients(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("woven-id-%06d", i)
	}
	return ids
}

func BenchmarkDecodeReply(b *testing.B) {
	asked := recipients(500)
	for name, body := range map[string]string{
		"all":  `{"success":true,"data":{"errors":[]},"info":"done"}`,
		"some": `{"success":true,"data":{"errors":[{"user_ids":["woven-id-000001","woven-id-000400"],"reason":"user not found"}]},"info":"done"}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := decodeReply([]byte(body))
				if err != nil {
					b.Fatal(err)
				}
				r.report(asked)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{1, 500} {
		note := notification(recipients(n)...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := note.encode(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint(n, " by the library"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := json.Marshal(payload(note)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, c := startAPI(b, chatapitest.Config{Forget: true})
			note := notification(recipients(n)...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Send(b.Context(), note); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// payload is what the body of a call is by the document.
type payload struct {
	ProjectID string   `json:"project_id"`
	Message   string   `json:"message"`
	WovenIDs  []string `json:"woven_ids"`
}

// The body is written by hand, so it is compared with what the library makes of the same.
func TestEncode(t *testing.T) {
	for _, n := range []Notification{
		{},
		{ProjectID: "p", Message: "m", WovenIDs: []string{"w-1"}},
		{ProjectID: "p", Message: "\"quoted\" \\ \n \u2028 <b> \x00 \x7f 日本 😀", WovenIDs: []string{"w\t1", "w/2", ""}},
	} {
		if n.WovenIDs == nil {
			n.WovenIDs = []string{}
		}
		got, err := n.encode()
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(payload(n))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	for _, bad := range []Notification{{Message: "\xff"}, {WovenIDs: []string{"a", "\xff", "b"}}} {
		if _, err := bad.encode(); err == nil {
			t.Errorf("%q is taken for UTF-8", bad)
		}
	}
}

// A reply that names somebody costs a look for echoes of the message in each reason.
func BenchmarkClean(b *testing.B) {
	note := notification("w-1")
	note.Message = strings.Repeat("Your coffee is ready, and so is your cake. ", 12)
	_, c := startAPI(b, chatapitest.Config{})
	token := strings.Repeat("eyJhbGciOi-", 90)
	b.ReportAllocs()
	for b.Loop() {
		report := Report{Failures: []Failure{{[]string{"w-1"}, "user not found"}, {[]string{"w-2"}, "is a member of the project"}}}
		report.clean(c.private(note, token))
	}
}
