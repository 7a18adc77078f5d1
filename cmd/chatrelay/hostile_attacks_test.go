//go:build faults

package main

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatrelay/chatrelay/queue"
)

// attack is one way to harm others with the right to publish jobs.
type attack struct {
	name  string
	n     int // messages
	msg   func(h *hostile, i int) *nats.Msg
	user  string // empty: hostile, who may publish jobs of one project only
	waits bool   // some of it waits for an hour
}

// with is an attack by headers on valid jobs.
func withHeaders(name string, n int, header nats.Header) attack {
	return attack{name: name, n: n, msg: func(h *hostile, i int) *nats.Msg {
		own := maps.Clone(header)
		return &nats.Msg{Header: own, Data: h.job(fmt.Sprintf("%s-%d", name, i), nil)}
	}}
}

// empty is an attack by headers that the server itself uses, on messages without a payload, as its own have none.
func empty(name string, n int, header nats.Header) attack {
	return attack{name: name, n: n, msg: func(*hostile, int) *nats.Msg {
		own := maps.Clone(header)
		return &nats.Msg{Header: own}
	}}
}

// raw is an attack by payloads.
func raw(name string, n int, data func(h *hostile, i int) []byte) attack {
	return attack{name: name, n: n, msg: func(h *hostile, i int) *nats.Msg { return &nats.Msg{Data: data(h, i)} }}
}

func namesOf(n int, name func(i int) string) (ids []string) {
	for i := range n {
		ids = append(ids, name(i))
	}
	return ids
}

// attacks are what is known; each can be run alone: -run TestHostileProducer/NAME.
var attacks = []attack{
	withHeaders("pin_id", 200, nats.Header{"Nats-Pin-Id": {"x"}}),
	empty("heartbeats", 4000, nats.Header{"Status": {"100"}}),
	empty("heartbeats_described", 1000, nats.Header{"Status": {"100"}, "Description": {"Idle Heartbeat"}, "Nats-Last-Consumer": {"7"}}),
	empty("flow_control", 500, nats.Header{"Status": {"100"}, "Description": {"FlowControl Request"}}),
	empty("consumer_deleted", 500, nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}),
	empty("leadership_change", 500, nats.Header{"Status": {"409"}, "Description": {"Leadership Change"}}),
	empty("no_responders", 500, nats.Header{"Status": {"503"}}),
	empty("no_messages", 500, nats.Header{"Status": {"404"}, "Description": {"No Messages"}}),
	empty("request_timeout", 500, nats.Header{"Status": {"408"}, "Nats-Pending-Messages": {"2000"}, "Nats-Pending-Bytes": {"0"}}),
	empty("bad_request", 500, nats.Header{"Status": {"400"}, "Description": {"Bad Request"}}),
	withHeaders("status_and_payload", 500, nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}),
	withHeaders("deferrals", 4000, nats.Header{"Chatrelay-Deferrals": {"9"}}),
	withHeaders("unreadable", 1000, nats.Header{"Chatrelay-Unreadable": {"-1000000"}}),
	withHeaders("published_1970", 1000, nats.Header{"Chatrelay-Published": {"1970-01-01T00:00:00Z"}, "Chatrelay-Attempts": {"999999999"}}),
	withHeaders("published_2970", 1000, nats.Header{"Chatrelay-Published": {"2970-01-01T00:00:00Z"}, "Chatrelay-Attempts": {"-9"}}),
	withHeaders("call_size", 1000, nats.Header{"Chatrelay-Call-Size": {"1"}, "Chatrelay-Suspected": {"99"}}),
	withHeaders("ambiguous", 1000, nats.Header{"Chatrelay-Ambiguous": {"2*1,9*999999999,1*-1,3*1"}}),
	withHeaders("forged_letter", 1000, nats.Header{"Chatrelay-Letter": {"rejected"}, "Chatrelay-Reason": {"rejected"}, "Chatrelay-Outcome": {"rejected"}, "Chatrelay-Letters": {"[]"}}),
	withHeaders("large_headers", 4000, nats.Header{"X-Large": {strings.Repeat("h", 60_000)}}),
	withHeaders("many_headers", 300, func() nats.Header {
		header := nats.Header{}
		for i := range 3000 {
			header[fmt.Sprintf("X-%d", i)] = []string{"v"}
		}
		return header
	}()),
	raw("one_byte_recipients", 60, func(h *hostile, i int) []byte {
		return h.job(fmt.Sprintf("x-one-byte-%d", i), func(job map[string]any) {
			job["woven_ids"] = namesOf(240_000, func(k int) string { return string(rune('a' + k%26)) })
		})
	}),
	{name: "short_recipients", n: 4, msg: func(h *hostile, i int) *nats.Msg {
		return &nats.Msg{Data: h.job(fmt.Sprintf("x-short-%d", i), func(job map[string]any) {
			job["woven_ids"] = namesOf(90_000, func(k int) string { return fmt.Sprintf("x%d", k) })
		})}
	}},
	{name: "long_message_many_recipients", n: 20, msg: func(h *hostile, i int) *nats.Msg {
		return &nats.Msg{Data: h.job(fmt.Sprintf("x-long-%d", i), func(job map[string]any) {
			job["message"] = strings.Repeat("m", 500_000)
			job["woven_ids"] = namesOf(60_000, func(k int) string { return fmt.Sprintf("x%d", k) })
		})}
	}},
	{name: "deliver_at_flood", n: 2000, waits: true, msg: func(h *hostile, i int) *nats.Msg {
		return &nats.Msg{Data: h.job(fmt.Sprintf("x-later-%d", i), func(job map[string]any) {
			job["deliver_at"] = time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
			job["message"] = strings.Repeat("m", 12_000)
		})}
	}},
	raw("deliver_at_for_ever", 500, func(h *hostile, i int) []byte {
		return h.job(fmt.Sprintf("for-ever-%d", i), func(job map[string]any) { job["deliver_at"] = "9999-12-31T23:59:59Z" })
	}),
	withHeaders("long_id", 500, nats.Header{"Nats-Msg-Id": {strings.Repeat("i", 50_000)}}),
	raw("malformed", 4000, func(_ *hostile, i int) []byte { return fmt.Appendf(nil, `{"id":"bad-%d"`, i) }),
	raw("malformed_large", 150, func(_ *hostile, i int) []byte {
		return fmt.Appendf(nil, `{"id":"%d %s`, i, strings.Repeat("\xff\x00\x1b", 300_000))
	}),
	raw("deep", 200, func(*hostile, int) []byte { return []byte(strings.Repeat("[", 200_000)) }),
	raw("capitals", 500, func(h *hostile, i int) []byte {
		return h.job(fmt.Sprintf("capital-%d", i), func(job map[string]any) { job["project_id"] = "ABCDEFAB-0000-4000-8000-000000000666" })
	}),
	raw("of_another_project", 500, func(h *hostile, i int) []byte {
		return h.job(fmt.Sprintf("another-%d", i), func(job map[string]any) { job["project_id"] = project(100) })
	}),
	raw("rejected_recipients", 8000, func(h *hostile, i int) []byte {
		return h.job(fmt.Sprintf("x-rejected-%d", i), func(job map[string]any) {
			job["woven_ids"] = []string{"rejected"}
			job["message"] = fmt.Sprintf("%d %s", i, strings.Repeat("m", 2000))
		})
	}),
	reply("reply_to_a_letter", "notify.dead."+project(100)+".rejected.normal-1"),
	reply("reply_to_due", "notify.due.normal."+project(100)),
	reply("reply_to_later", "notify.later."+project(100)+".normal-1"),
	reply("reply_to_gates", "notify.gates"),
	reply("reply_to_API", "$JS.API.STREAM.PURGE.NOTIFY_NORMAL"),
	{name: "subject_not_UTF-8", n: 4000, user: "careless", msg: func(h *hostile, i int) *nats.Msg {
		return &nats.Msg{Subject: "notify.jobs.normal.\xff\xfe\x80", Data: []byte("{}")}
	}},
	{name: "subject_long", n: 1000, user: "careless", msg: func(h *hostile, i int) *nats.Msg {
		return &nats.Msg{Subject: "notify.jobs.normal." + strings.Repeat("s", 3000), Data: h.job(fmt.Sprintf("long-%d", i), nil)}
	}},
	{name: "many_projects", n: 8000, user: "careless", msg: func(h *hostile, i int) *nats.Msg {
		return &nats.Msg{Subject: queue.JobSubject(queue.Normal, project(10_000+i)), Data: []byte("{}")}
	}},
}

// reply lets the server send its answers where they harm.
func reply(name, subject string) attack {
	return attack{name: name, n: 500, msg: func(h *hostile, i int) *nats.Msg {
		return &nats.Msg{Reply: subject, Data: h.job(fmt.Sprintf("%s-%d", name, i), nil)}
	}}
}

// Whatever a producer sends who may publish jobs of one project: others' jobs are delivered as before, each once, and
// each of the producer's ends delivered or in a letter. The worker stays within its memory, and ready.
func TestHostileProducer(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			user := a.user
			if user == "" {
				user = "hostile"
			}
			h, worker, addr := newHostile(t, user)
			h.api.Reject("unknown user", "rejected")
			var f figures
			h.under(&f, worker, addr, a)
			t.Log(strings.Join(f.said, "; "), f.missed)
		})
	}
}

// hostileProducer does an hour's worth of all attacks that the account allows in a minute.
func hostileProducer(t *testing.T, f *figures) {
	h, worker, addr := newHostile(t, "hostile")
	h.api.Reject("unknown user", "rejected")
	var all []attack
	for _, a := range attacks {
		if a.user == "" {
			all = append(all, a)
		}
	}
	h.under(f, worker, addr, all...)
}
