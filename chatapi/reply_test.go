package chatapi

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

func TestReplies(t *testing.T) {
	const ok = `{"success":true,"data":{"errors":[]},"info":"done"}`
	errs := func(ids, reason string) string {
		return `{"success":true,"data":{"errors":[{"user_ids":` + ids + `,"reason":` + reason + `}]},"info":"x"}`
	}
	one, none := []Failure{{[]string{"b"}, "user not found"}}, []Failure{{[]string{"b"}, "no reason given"}}
	many := `"` + strings.Join(slices.Collect(func(yield func(string) bool) {
		for i := range 40 {
			if !yield(fmt.Sprintf("x-%d", i)) {
				return
			}
		}
	}), `","`) + `"`
	for name, tc := range map[string]struct {
		body, contentType, encoding string
		status                      int // zero: 200
		failures                    []Failure
		unknown                     int
		doubt                       string // a part of it; "" for none
		kind                        Kind   // "" for a report
		maybe                       bool
		detail                      string
	}{
		"all delivered":       {body: ok},
		"one failed":          {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"user not found"}]},"info":"x"}`, failures: one},
		"false, one named":    {body: `{"success":false,"data":{"errors":[{"user_ids":["b"],"reason":"user not found"}]},"info":"x"}`, failures: one},
		"two reasons":         {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"first"},{"user_ids":["c","b"],"reason":"second"}]},"info":"x"}`, failures: []Failure{{[]string{"b"}, "first"}, {[]string{"c"}, "second"}}},
		"twice in one":        {body: errs(`["b","b"]`, `"user not found"`), failures: one},
		"more members":        {body: `{"success":true,"trace":1,"data":{"errors":[{"user_ids":["b"],"reason":"user not found","code":{}}],"n":[]},"info":"x"}`, failures: one},
		"white space":         {body: " \r\n" + ok + "\n"},
		"plain text":          {body: ok, contentType: "text/plain"},
		"called HTML":         {body: ok, contentType: "text/html"},
		"reason of two lines": {body: errs(`["b"]`, `"user\n\u0000found"`), failures: []Failure{{[]string{"b"}, "user ?found"}}},

		// Texts and spellings that decide nothing.
		"info missing":               {body: `{"success":true,"data":{"errors":[]}}`},
		"info null":                  {body: `{"success":true,"data":{"errors":[]},"info":null}`},
		"info number":                {body: `{"success":true,"data":{"errors":[]},"info":4}`},
		"info object":                {body: `{"success":true,"data":{"errors":[]},"info":{"a":[]}}`},
		"info not UTF-8":             {body: "{\"success\":true,\"data\":{\"errors\":[]},\"info\":\"\xff\"}"},
		"info with a lone surrogate": {body: `{"success":true,"data":{"errors":[]},"info":"sent \ud83c"}`},
		"info twice":                 {body: `{"success":true,"data":{"errors":[]},"info":"a","info":"b"}`},
		"BOM":                        {body: "\xef\xbb\xbf" + errs(`["b"]`, `"user not found"`), failures: one},
		"UTF-16":                     {body: utf16LE(errs(`["b"]`, `"user not found"`)), failures: one},
		"reason with a surrogate":    {body: errs(`["b"]`, `"no device for \ud83c"`), failures: []Failure{{[]string{"b"}, "no device for ?"}}},
		"reason cut in a character":  {body: errs(`["b"]`, "\"no device \xe3\x82\""), failures: []Failure{{[]string{"b"}, "no device ??"}}},
		"reason missing":             {body: `{"success":true,"data":{"errors":[{"user_ids":["b"]}]}}`, failures: none},
		"reason null":                {body: errs(`["b"]`, `null`), failures: none},
		"reason empty":               {body: errs(`["b"]`, `""`), failures: none},
		"reason number":              {body: errs(`["b"]`, `4`), failures: []Failure{{[]string{"b"}, "4"}}},
		"reason object":              {body: errs(`["b"]`, `{"code":4}`), failures: []Failure{{[]string{"b"}, `{"code":4}`}}},
		"Success":                    {body: `{"Success":true,"Data":{"Errors":[{"userIds":["b"],"Reason":"user not found"}]}}`, failures: one},
		"success text":               {body: `{"success":"True","data":{"errors":[]}}`},
		"success number":             {body: `{"success":1,"data":{"errors":[]}}`},
		"success twice the same":     {body: `{"success":true,"Success":true,"data":{"errors":[]}}`},
		"errors null":                {body: `{"success":true,"data":{"errors":null}}`},
		"errors an empty object":     {body: `{"success":true,"data":{"errors":{}}}`},
		"errors outside of data":     {body: `{"success":true,"errors":[{"user_ids":["b"],"reason":"user not found"}]}`, failures: one},
		"data twice":                 {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"user not found"}]},"data":{"errors":[]}}`, failures: one},
		"data twice, then null":      {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"user not found"}]},"data":null}`, failures: one},
		"errors twice":               {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"user not found"}],"errors":null}}`, failures: one},
		"trailing text":              {body: errs(`["b"]`, `"user not found"`) + "\n-- 12 ms", failures: one},
		"trailing object":            {body: ok + `{"took":12}`},
		"trailing blanks":            {body: ok + strings.Repeat(" ", minReplyLimit)},
		"gzip":                       {body: gzipped(errs(`["b"]`, `"user not found"`)), encoding: "gzip", failures: one},
		"gzip, not said":             {body: gzipped(errs(`["b"]`, `"user not found"`)), failures: one},
		"gzip, cut at its end":       {body: gzipped(ok)[:len(gzipped(ok))-4], encoding: "gzip"},
		"gzip said, but plain":       {body: ok, encoding: "gzip"},
		"deflate":                    {body: deflated(ok, false), encoding: "deflate"},
		"deflate without its header": {body: deflated(ok, true), encoding: "deflate"},
		"deflate said, but plain":    {body: ok, encoding: "deflate"},
		"201":                        {body: ok, status: 201},
		"202":                        {body: errs(`["b"]`, `"user not found"`), status: 202, failures: one},

		// Who is named.
		"user_ids text":         {body: errs(`"b"`, `"user not found"`), failures: one},
		"user_ids of array":     {body: errs(`[["b"]]`, `"user not found"`), failures: one},
		"user_id":               {body: `{"success":true,"data":{"errors":[{"user_id":"b","reason":"user not found"}]}}`, failures: one},
		"woven_ids":             {body: `{"success":true,"data":{"errors":[{"woven_ids":["b"],"reason":"user not found"}]}}`, failures: one},
		"user_ids twice":        {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"user_ids":["c"],"reason":"r"}]}}`, failures: []Failure{{[]string{"b", "c"}, "r"}}},
		"entry text":            {body: `{"success":true,"data":{"errors":["b"]}}`, failures: none},
		"number":                {body: errs(`[1001]`, `"user not found"`), failures: []Failure{{[]string{"1001"}, "user not found"}}},
		"upper case":            {body: errs(`["B"]`, `"user not found"`), failures: one},
		"blanks":                {body: errs(`["\tb \u200b"]`, `"user not found"`), failures: one},
		"blanks taken off":      {body: errs(`["DE"]`, `"user not found"`), failures: []Failure{{[]string{" De "}, "user not found"}}},
		"exact before alike":    {body: errs(`["f","F"]`, `"r"`), failures: []Failure{{[]string{"f", "F"}, "r"}}},
		"twice, alike":          {body: errs(`["b","B"]`, `"user not found"`), failures: one},
		"alike to two":          {body: errs(`["F "]`, `"r"`), unknown: 1, doubt: "not asked for"},
		"unknown ids":           {body: errs(`["b","z","z","y"]`, `"user not found"`), failures: one, unknown: 2, doubt: "not asked for"},
		"many unknown":          {body: errs("["+many+"]", `"r"`), unknown: maxUnknown, doubt: "not asked for"},
		"id with a surrogate":   {body: errs(`["b\ud83c"]`, `"r"`), unknown: 1, doubt: "not asked for"},
		"id not UTF-8":          {body: errs("[\"b\xff\"]", `"r"`), unknown: 1, doubt: "not asked for"},
		"null among ids":        {body: errs(`["b",null]`, `"user not found"`), failures: one, unknown: 1, doubt: "not asked for"},
		"false, some unknown":   {body: `{"success":false,"data":{"errors":[{"user_ids":["b","z"],"reason":"user not found"}]}}`, failures: one, unknown: 1, doubt: "not asked for"},
		"nobody in the entry":   {body: errs(`[]`, `"push gateway down"`), doubt: "without saying whom"},
		"nobody, after another": {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"user not found"},{"user_ids":[]}]}}`, failures: one, doubt: "without saying whom"},
		"user_ids null":         {body: errs(`null`, `"r"`), doubt: "without saying whom"},
		"user_ids missing":      {body: `{"success":true,"data":{"errors":[{"reason":"r"}]}}`, doubt: "without saying whom"},
		"named by another name": {body: `{"success":true,"data":{"errors":[{"recipients":[{"id":"b"}],"reason":"user not found","code":7}]}}`, failures: one},
		"entry null":            {body: `{"success":true,"data":{"errors":[null]}}`, doubt: "without saying whom"},
		"data missing":          {body: `{"success":true,"info":"x"}`, doubt: "leaves out data.errors"},
		"data null":             {body: `{"success":true,"data":null}`, doubt: "leaves out data.errors"},
		"data an empty array":   {body: `{"success":true,"data":[]}`, doubt: "leaves out data.errors"},
		"errors missing":        {body: `{"success":true,"data":{}}`, doubt: "leaves out data.errors"},
		"201 without a body":    {status: 201, doubt: "the reply is empty"},
		"202 without a body":    {status: 202, doubt: "the reply is empty"},
		"204":                   {status: 204, doubt: "the reply is empty"},

		"false, nobody named":  {body: `{"success":false,"data":{"errors":[]},"info":"queue is full"}`, kind: Temporary, detail: "success false, nobody named: queue is full"},
		"false, unknown named": {body: `{"success":false,"data":{"errors":[{"user_ids":["z"],"reason":"r"}]},"info":"odd"}`, kind: Temporary, detail: "nobody named: odd"},
		"false, no data":       {body: `{"success":false,"info":"broken"}`, kind: Temporary, detail: "nobody named: broken"},
		"false, data null":     {body: `{"success":false,"data":null}`, kind: Temporary, detail: "nobody named"},

		// What is no reply at all.
		"maintenance":        {body: `{"status":"maintenance"}`, kind: Temporary, detail: `not the Chat API; the body: {"status":"maintenance"}`},
		"empty object":       {body: `{}`, kind: Temporary, detail: "not the Chat API"},
		"null":               {body: "null", kind: Temporary, detail: "not the Chat API"},
		"array":              {body: "[]", kind: Temporary, detail: "not the Chat API"},
		"a text":             {body: `"down"`, kind: Temporary, detail: "not the Chat API"},
		"words":              {body: "Down for maintenance.\n", contentType: "text/plain", kind: Temporary, detail: "Down for maintenance."},
		"HTML":               {body: "<html>\n<p>Sign in</p>", contentType: "text/html; charset=utf-8", kind: Temporary, detail: "<html> <p>Sign in</p>"},
		"HTML in disguise":   {body: "<html>", kind: Temporary, detail: "<html>"},
		"HTML with 202":      {body: "<html>", status: 202, kind: Temporary, detail: "<html>"},
		"HTML, compressed":   {body: gzipped("<html>"), encoding: "gzip", kind: Temporary, detail: "<html>"},
		"HTML with a script": {body: `<html><script>{"success":true}`, kind: Temporary, detail: "<html>"},
		"long HTML":          {body: "<html>" + strings.Repeat(" ", minReplyLimit), kind: Temporary, detail: "<html>"},
		"HTML in UTF-16":     {body: utf16LE("<html>"), kind: Temporary},
		"maintenance, twice": {body: `{"status":"maintenance"} {}`, kind: Temporary},

		// What is a part of a reply, or may be one.
		"empty":              {body: "", kind: Unreadable, maybe: true},
		"blanks only":        {body: "\n", kind: Unreadable, maybe: true},
		"in an array":        {body: "[" + ok + "]", kind: Unreadable, maybe: true},
		"cut":                {body: ok[:30], kind: Unreadable, maybe: true},
		"cut early":          {body: ok[:3], kind: Unreadable, maybe: true},
		"cut, then text":     {body: ok[:30] + "upstream timeout", kind: Unreadable, maybe: true},
		"behind a warning":   {body: "Warning: slow\n" + ok, kind: Unreadable, maybe: true},
		"two replies":        {body: ok + errs(`["b"]`, `"r"`), kind: Unreadable, maybe: true, detail: "more than one"},
		"202 with JSON":      {body: `{"status":"queued"}`, status: 202, kind: Unreadable, maybe: true},
		"brotli":             {body: "\x8b\x19\x80\x00\x01\xff", encoding: "br", kind: Unreadable, maybe: true},
		"success missing":    {body: `{"data":{"errors":[]},"info":"x"}`, kind: Unreadable, maybe: true, detail: "success is missing"},
		"success null":       {body: `{"success":null,"data":{"errors":[]}}`, kind: Unreadable, maybe: true, detail: "success is missing"},
		"success odd":        {body: `{"success":"maybe","data":{"errors":[]}}`, kind: Unreadable, maybe: true},
		"success twice":      {body: `{"success":false,"success":true,"data":{"errors":[]}}`, kind: Unreadable, maybe: true, detail: "twice"},
		"success, Success":   {body: `{"success":true,"Success":false,"data":{"errors":[]}}`, kind: Unreadable, maybe: true, detail: "twice"},
		"data text":          {body: `{"success":false,"data":"x"}`, kind: Unreadable, maybe: true},
		"data empty text":    {body: `{"success":true,"data":""}`, kind: Unreadable, maybe: true},
		"errors object":      {body: `{"success":true,"data":{"errors":{"b":"r"}}}`, kind: Unreadable, maybe: true},
		"errors true":        {body: `{"success":true,"data":{"errors":true}}`, kind: Unreadable, maybe: true},
		"in another object":  {body: `{"result":` + ok + `}`, kind: Unreadable, maybe: true, detail: "neither success nor data"},
		"in a text":          {body: `{"statusCode":200,"body":"{\"success\":true,\"data\":{\"errors\":[]}}"}`, kind: Unreadable, maybe: true},
		"in a text, spaced":  {body: `{"body":"{ \"success\" : true }"}`, kind: Unreadable, maybe: true},
		"named under error":  {body: `{"success":true,"data":{"error":[{"user_ids":["b"],"reason":"r"}]}}`, kind: Unreadable, maybe: true, detail: "another place"},
		"named deeper":       {body: `{"success":true,"data":{"result":{"errors":[{"userIds":["b"]}]}}}`, kind: Unreadable, maybe: true, detail: "another place"},
		"named elsewhere":    {body: `{"success":true,"errors":[],"data":{"failed":[{"user_ids":["b"]}]}}`, kind: Unreadable, maybe: true, detail: "another place"},
		"false, elsewhere":   {body: `{"success":false,"result":[{"user_ids":["b"],"reason":"r"}]}`, kind: Unreadable, maybe: true, detail: "another place"},
		"huge":               {body: `{"success":true,` + strings.Repeat(" ", minReplyLimit) + ok[1:], kind: Unreadable, maybe: true, detail: "longer than 1048576 bytes"},
		"huge when unpacked": {body: gzipped(`{"success":true,` + strings.Repeat(" ", minReplyLimit) + ok[1:]), kind: Unreadable, maybe: true},
	} {
		t.Run(name, func(t *testing.T) {
			tc.status = cmp.Or(tc.status, 200)
			c := against(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header["Accept-Encoding"]; !slices.Equal(got, []string{"identity"}) {
					t.Errorf("Accept-Encoding is %q", got)
				}
				w.Header().Set("Content-Type", cmp.Or(tc.contentType, "application/json"))
				if tc.encoding != "" {
					w.Header().Set("Content-Encoding", tc.encoding)
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			})
			n := notification("a", "b", "c", "1001", " De ", "f", "F")
			if tc.kind != "" {
				failure := sendFails(t, c, context.Background(), n)
				if failure.Kind != tc.kind || failure.MayBeDelivered != tc.maybe || failure.Status != tc.status || !strings.Contains(failure.Detail, tc.detail) {
					t.Errorf("%v; want %q, may be delivered %v, %q", failure, tc.kind, tc.maybe, tc.detail)
				}
				if failure.MayConcernMessage() != (tc.kind == Temporary) || failure.TimedOut() {
					t.Errorf("%v: may concern the message: %v; timed out: %v", failure, failure.MayConcernMessage(), failure.TimedOut())
				}
				return
			}
			report, err := c.Send(context.Background(), n)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(report.Failures, tc.failures) || len(report.Unknown) != tc.unknown || report.Status != tc.status {
				t.Errorf("%+v; want %+v and %d unknown", report, tc.failures, tc.unknown)
			}
			if again, err := c.Send(context.Background(), n); err != nil || !reflect.DeepEqual(again, report) {
				t.Errorf("the same once more gives %+v, %v", again, err)
			}
			if (report.Doubt == "") != (tc.doubt == "") || !strings.Contains(report.Doubt, tc.doubt) {
				t.Errorf("the doubt is %q, want %q", report.Doubt, tc.doubt)
			}
		})
	}
}

// The bound on a reply grows with the recipients, so that all may be named.
func TestReplyMayNameAllOfManyRecipients(t *testing.T) {
	var all []string
	for i := range 20_000 {
		all = append(all, fmt.Sprintf("%0100d", i))
	}
	quoted, _ := json.Marshal(all)
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"success":false,"data":{"errors":[{"user_ids":%s,"reason":"closed"}]},"info":"x"}`, quoted)
	})
	report, err := c.Send(context.Background(), notification(all...))
	if err != nil || len(report.Failures) != 1 || len(report.Failures[0].WovenIDs) != len(all) {
		t.Fatalf("%d failures, %v", len(report.Failures), err)
	}
}

func FuzzDecodeReply(f *testing.F) {
	for _, seed := range []string{
		`{"success":true,"data":{"errors":[]},"info":"done"}`,
		`{"success":false,"data":{"errors":[{"user_ids":["a","z"],"reason":"r"},{"user_ids":["a","b"],"reason":""}]},"info":"x"}`,
		`{"success":true,"data":null}`, `{"success":true,"data":{"errors":[{"user_ids":[null,1],"reason":"r"}]}}`, "", "<html>", `[`,
	} {
		f.Add([]byte(seed))
	}
	asked := []string{"a", "b", "c"}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeReply(body)
		if err != nil {
			return
		}
		report := r.report(asked)
		report.clean(private{}.hide("token", "[token]"))
		seen := make(map[string]bool)
		for _, failure := range report.Failures {
			if len(failure.WovenIDs) == 0 || len(failure.Reason) > maxDetail {
				t.Errorf("odd failure %+v", failure)
			}
			for _, id := range failure.WovenIDs {
				if seen[id] || !slices.Contains(asked, id) {
					t.Errorf("%q is there twice or was not asked for", id)
				}
				seen[id] = true
			}
		}
		if len(report.Unknown) > maxUnknown {
			t.Errorf("%d unknown ids", len(report.Unknown))
		}
	})
}
