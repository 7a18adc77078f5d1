package chatapi

import (
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
	one := []Failure{{[]string{"b"}, "user not found"}}
	many := `"` + strings.Join(slices.Collect(func(yield func(string) bool) {
		for i := range 40 {
			if !yield(fmt.Sprintf("x-%d", i)) {
				return
			}
		}
	}), `","`) + `"`
	for name, tc := range map[string]struct {
		body, contentType string
		failures          []Failure
		unknown           int
		kind              Kind // "" for a report
		maybe             bool
		detail            string
	}{
		"all delivered":       {body: ok},
		"one failed":          {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"user not found"}]},"info":"x"}`, failures: one},
		"false, one named":    {body: `{"success":false,"data":{"errors":[{"user_ids":["b"],"reason":"user not found"}]},"info":"x"}`, failures: one},
		"two reasons":         {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"first"},{"user_ids":["c","b"],"reason":"second"}]},"info":"x"}`, failures: []Failure{{[]string{"b"}, "first"}, {[]string{"c"}, "second"}}},
		"twice in one":        {body: `{"success":true,"data":{"errors":[{"user_ids":["b","b"],"reason":"user not found"}]},"info":"x"}`, failures: one},
		"unknown ids":         {body: `{"success":true,"data":{"errors":[{"user_ids":["b","z","z","y"],"reason":"user not found"}]},"info":"x"}`, failures: one, unknown: 2},
		"many unknown":        {body: `{"success":true,"data":{"errors":[{"user_ids":[` + many + `],"reason":"r"}]},"info":"x"}`, unknown: maxUnknown},
		"nobody in the entry": {body: `{"success":true,"data":{"errors":[{"user_ids":[],"reason":"r"}]},"info":"x"}`},
		"info missing":        {body: `{"success":true,"data":{"errors":[]}}`},
		"info null":           {body: `{"success":true,"data":{"errors":[]},"info":null}`},
		"more members":        {body: `{"success":true,"trace":1,"data":{"errors":[{"user_ids":["b"],"reason":"user not found","code":{}}],"n":[]},"info":"x"}`, failures: one},
		"white space":         {body: " \r\n" + ok + "\n"},
		"plain text":          {body: ok, contentType: "text/plain"},
		"called HTML":         {body: ok, contentType: "text/html"},
		"reason of two lines": {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":"user\n\u0000found"}]},"info":"x"}`, failures: []Failure{{[]string{"b"}, "user ?found"}}},

		"false, nobody named":  {body: `{"success":false,"data":{"errors":[]},"info":"queue is full"}`, kind: Temporary, detail: "success false, nobody named: queue is full"},
		"false, unknown named": {body: `{"success":false,"data":{"errors":[{"user_ids":["z"],"reason":"r"}]},"info":"odd"}`, kind: Temporary, detail: "nobody named: odd"},
		"false, no data":       {body: `{"success":false,"info":"broken"}`, kind: Temporary, detail: "nobody named: broken"},
		"false, data null":     {body: `{"success":false,"data":null}`, kind: Temporary, detail: "nobody named"},

		"empty":              {body: "", kind: Unreadable, maybe: true},
		"null":               {body: "null", kind: Unreadable, maybe: true, detail: "success is missing"},
		"array":              {body: "[" + ok + "]", kind: Unreadable, maybe: true},
		"cut":                {body: ok[:30], kind: Unreadable, maybe: true},
		"trailing garbage":   {body: ok + "x", kind: Unreadable, maybe: true},
		"two replies":        {body: ok + ok, kind: Unreadable, maybe: true},
		"success missing":    {body: `{"data":{"errors":[]},"info":"x"}`, kind: Unreadable, maybe: true, detail: "success is missing"},
		"success null":       {body: `{"success":null,"data":{"errors":[]}}`, kind: Unreadable, maybe: true},
		"success text":       {body: `{"success":"true","data":{"errors":[]}}`, kind: Unreadable, maybe: true},
		"success twice":      {body: `{"success":false,"success":true,"data":{"errors":[]}}`, kind: Unreadable, maybe: true},
		"Success":            {body: `{"Success":true,"data":{"errors":[]}}`, kind: Unreadable, maybe: true},
		"data missing":       {body: `{"success":true,"info":"x"}`, kind: Unreadable, maybe: true, detail: "data.errors is missing"},
		"data null":          {body: `{"success":true,"data":null}`, kind: Unreadable, maybe: true},
		"data text":          {body: `{"success":false,"data":"x"}`, kind: Unreadable, maybe: true},
		"errors missing":     {body: `{"success":true,"data":{}}`, kind: Unreadable, maybe: true},
		"errors null":        {body: `{"success":true,"data":{"errors":null}}`, kind: Unreadable, maybe: true},
		"errors object":      {body: `{"success":true,"data":{"errors":{}}}`, kind: Unreadable, maybe: true},
		"entry null":         {body: `{"success":true,"data":{"errors":[null]}}`, kind: Unreadable, maybe: true, detail: "data.errors[0] lacks"},
		"entry text":         {body: `{"success":true,"data":{"errors":["b"]}}`, kind: Unreadable, maybe: true},
		"user_ids missing":   {body: `{"success":true,"data":{"errors":[{"reason":"r"}]}}`, kind: Unreadable, maybe: true},
		"user_ids null":      {body: `{"success":true,"data":{"errors":[{"user_ids":null,"reason":"r"}]}}`, kind: Unreadable, maybe: true},
		"user_ids text":      {body: `{"success":true,"data":{"errors":[{"user_ids":"b","reason":"r"}]}}`, kind: Unreadable, maybe: true},
		"user_ids of null":   {body: `{"success":true,"data":{"errors":[{"user_ids":[null],"reason":"r"}]}}`, kind: Unreadable, maybe: true},
		"user_ids of number": {body: `{"success":true,"data":{"errors":[{"user_ids":[1],"reason":"r"}]}}`, kind: Unreadable, maybe: true},
		"user_ids of array":  {body: `{"success":true,"data":{"errors":[{"user_ids":[["b"]],"reason":"r"}]}}`, kind: Unreadable, maybe: true},
		"reason missing":     {body: `{"success":true,"data":{"errors":[{"user_ids":["b"]}]}}`, kind: Unreadable, maybe: true},
		"reason number":      {body: `{"success":true,"data":{"errors":[{"user_ids":["b"],"reason":4}]}}`, kind: Unreadable, maybe: true},
		"info number":        {body: `{"success":true,"data":{"errors":[]},"info":4}`, kind: Unreadable, maybe: true},
		"not UTF-8":          {body: "{\"success\":true,\"data\":{\"errors\":[]},\"info\":\"\xff\"}", kind: Unreadable, maybe: true},
		"HTML":               {body: "<html>\n<p>Sign in</p>", contentType: "text/html; charset=utf-8", kind: Unreadable, detail: "<html> <p>Sign in</p>"},
		"HTML in disguise":   {body: "<html>", kind: Unreadable, maybe: true},
		"huge":               {body: ok + strings.Repeat(" ", minReplyLimit), kind: Unreadable, maybe: true, detail: "longer than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.contentType == "" {
				tc.contentType = "application/json"
			}
			c := against(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", tc.contentType)
				fmt.Fprint(w, tc.body)
			})
			if tc.kind != "" {
				failure := sendFails(t, c, context.Background(), notification("a", "b", "c"))
				if failure.Kind != tc.kind || failure.MayBeDelivered != tc.maybe || failure.Status != 200 || !strings.Contains(failure.Detail, tc.detail) {
					t.Errorf("%v; want %q, may be delivered %v, %q", failure, tc.kind, tc.maybe, tc.detail)
				}
				return
			}
			report, err := c.Send(context.Background(), notification("a", "b", "c"))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(report.Failures, tc.failures) || len(report.Unknown) != tc.unknown || report.Status != 200 {
				t.Errorf("%+v; want %+v and %d unknown", report, tc.failures, tc.unknown)
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
