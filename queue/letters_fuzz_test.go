package queue

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// headersOf reads lines as a message's headers, as the connection does.
func headersOf(lines string) nats.Header {
	header, err := nats.DecodeHeadersMsg([]byte("NATS/1.0\r\n" + lines + "\r\n\r\n"))
	if err != nil {
		return nil
	}
	return header
}

func checkHistory(t *testing.T, h History) {
	t.Helper()
	for _, n := range []int{h.Attempts, h.Replays, h.Suspected, h.CallSize, h.Deferrals, h.LastStatus} {
		if n < 0 || n > maxCount {
			t.Errorf("a number is %d", n)
		}
	}
	if len(h.LastError) > 256 || strings.ContainsAny(h.LastError, "\r\n\x00") || !utf8.ValidString(h.LastError) {
		t.Errorf("the last error is %q", h.LastError)
	}
	if h.PublishedAt.After(time.Now().Add(25*time.Hour)) || h.PublishedAt.Year() < 1 {
		t.Errorf("published at %v", h.PublishedAt)
	}
	if len(h.Ambiguous) > maxTried || headersSize(h.Headers) > maxHeaders {
		t.Errorf("%d runs, %d bytes of headers", len(h.Ambiguous), headersSize(h.Headers))
	}
}

// Whatever headers hold, the history is within its bounds, and is the same after it was written and read once more.
func FuzzHistory(f *testing.F) {
	for _, seed := range []string{
		"Chatrelay-Attempts: -1\r\nChatrelay-Deferrals: 99999999999999999999", "Chatrelay-Published: 0000-01-01T00:00:00Z", "Chatrelay-Published: 9999-12-31T23:59:59-23:59",
		"Chatrelay-Ambiguous: 1*2,3*4", "Chatrelay-Ambiguous: " + strings.Repeat("1*1,", 3000) + "1*1", "Chatrelay-Error: \xff\x00 " + strings.Repeat("☕", 200),
		"traceparent: x\r\nNats-Msg-Id: y\r\nStatus: 100", "X: a\x00b\rc\r\nX:  d",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		h := decodeHistory(headersOf(lines))
		checkHistory(t, h)
		header := nats.Header{}
		h.encode(header)
		again := decodeHistory(header)
		checkHistory(t, again)
		if again.Headers, h.Headers = nil, nil; !reflect.DeepEqual(again, h) {
			t.Errorf("%+v was read again as %+v", h, again)
		}
	})
}

// Whatever stands in NOTIFY_DEAD is read, and can be buried: it then fits, is read as a worker's, and of what it
// says of its project and its reason nothing is lost.
func FuzzLetter(f *testing.F) {
	f.Add(`{"project_id":"`+projectA+`","reason":"rejected","woven_ids":["a","b"],"message":"m"}`, "", projectA+".rejected.normal-1", 0)
	f.Add(`{"project_id":"x","reason":"y z","failed_at":"9999-12-31T23:59:59-23:59","attempts":-5,"raw":"AAAA"}`, "Chatrelay-Attempts: 3", "a.b", 5000)
	f.Add("oops\xff", "X: \xff", "\xff..", 1<<20)
	f.Add(`{"message":"`+strings.Repeat("\\u0001", 5000)+`","woven_ids":["`+strings.Repeat("w", 9000)+`","",""],"failures":[{},{"detail":"\u0000"}]}`, "", "", 4096)
	f.Add(`{"project_id":"`+projectA+`","reason":"rejected"}`, "", projectA+".rejected.\xb4", 0)
	f.Fuzz(func(t *testing.T, data, lines, subject string, room int) {
		l := readLetter([]byte(data), headersOf(lines), deadPrefix+subject, 7)
		checkHistory(t, l.History)
		if l.Untrusted == "" && (deadPrefix+subject != deadPrefix+l.ProjectID+"."+string(l.Reason)+"."+l.Origin) {
			t.Errorf("%q is trusted as %s %s %s", subject, l.ProjectID, l.Reason, l.Origin)
		}
		room = max(leastLetter, min(room, 1<<20))
		recipients := 0
		for _, m := range l.fit(room) {
			if m.size() > room {
				t.Errorf("%d bytes in a room of %d", m.size(), room)
			}
			back := readLetter(m.data, m.header, m.subject(), 8)
			if back.Untrusted != "" {
				t.Errorf("%s is not trusted: %s", m.subject(), back.Untrusted)
			}
			recipients += len(back.WovenIDs)
		}
		if recipients != len(l.WovenIDs) {
			t.Errorf("%d of %d recipients", recipients, len(l.WovenIDs))
		}
	})
}

// Whatever headers a producer sends, those that travel can be sent on and count nothing of ours.
func FuzzProducerHeaders(f *testing.F) {
	f.Add("traceparent: x\r\nChatrelay-Attempts: 3\r\nNats-Schedule: y\r\ncaf\xe9: z")
	f.Add("A: " + strings.Repeat("v", 30<<10) + "\r\nB: " + strings.Repeat("v", 30<<10))
	f.Fuzz(func(t *testing.T, lines string) {
		own := producerHeaders(headersOf(lines))
		if err := validateHeaders(own); err != nil {
			t.Errorf("%q cannot travel: %v", own, err)
		}
		header := nats.Header{}
		(&History{Headers: own}).encode(header)
		if got := producerHeaders(header); len(got) != len(own) || len(header) != len(own) {
			t.Errorf("%q is sent on as %q", own, header)
		}
	})
}
