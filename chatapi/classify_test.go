package chatapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// judged is what is to be made of a status.
type judged struct{ kind, page Kind }

// want gives the kinds of every status, with any other body than a page and with a page, from the list.
func want(status int) judged {
	switch status {
	case 402, 429:
		return judged{Limited, Limited}
	case 408, 425:
		return judged{Temporary, Temporary}
	case 401, 403:
		return judged{Credential, Credential}
	case 413:
		return judged{Refused, Refused}
	case 400, 409, 422:
		return judged{Refused, Misconfigured}
	}
	if status >= 500 && status <= 599 {
		return judged{Temporary, Temporary}
	}
	return judged{Misconfigured, Misconfigured}
}

// maybe lists the 5xx after which a call cannot have been delivered; no other status means that it may.
func maybe(status int) bool {
	return status >= 500 && status <= 599 && !slices.Contains([]int{501, 503, 505, 511, 521, 522, 523, 525, 526}, status)
}

// concerns is false for what cannot be about message or recipients.
func concerns(status int) bool {
	return slices.Contains([]int{302, 303, 307, 500}, status) || status >= 400 && status <= 499 &&
		!slices.Contains([]int{401, 402, 407, 408, 411, 412, 417, 421, 425, 426, 428, 429, 431}, status)
}

func TestClassifyEveryStatus(t *testing.T) {
	for status := -1; status <= 1000; status++ {
		want := want(status)
		if status >= 200 && status <= 299 {
			want = judged{}
		}
		if got := (judged{classify(status, false, false), classify(status, false, true)}); got != want {
			t.Errorf("%d is %q, want %q", status, got, want)
		}
	}
	if got := classify(503, true, true); got != Limited {
		t.Errorf("503 with Retry-After is %q, want limited", got)
	}
	for status, want := range map[int]Kind{200: Temporary, 204: Temporary, 302: Misconfigured, 400: Credential, 401: Credential,
		403: Credential, 404: Misconfigured, 405: Misconfigured, 408: Temporary, 415: Misconfigured, 422: Misconfigured, 429: Limited,
		500: Temporary, 503: Temporary} {
		if got := classifyToken(status, false); got != want {
			t.Errorf("token endpoint's %d is %q, want %q", status, got, want)
		}
	}
}

// Every status that can arrive but 2xx, with each kind of body.
func TestSendMeetsEveryStatus(t *testing.T) {
	bodies := map[string]struct{ contentType, text string }{
		"JSON":  {"application/json", `{"message": "odd\n status"}`},
		"page":  {"text/html", "<html>\n<p>odd\\n status</p>"},
		"empty": {"text/html", ""},
	}
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		if status == http.StatusSwitchingProtocols {
			w.Header().Set("Upgrade", "other")
			w.Header().Set("Connection", "Upgrade")
		}
		body := bodies[r.URL.Query().Get("body")]
		w.Header().Set("Content-Type", body.contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, body.text)
	})
	for status := 101; status <= 999; status++ {
		switch status {
		case 102:
			status = 300 // net/http passes over the other 1xx and waits on; of 2xx the body decides
		}
		for body, is := range bodies {
			c.blank.URL.RawQuery = fmt.Sprint("status=", status, "&body=", body)
			failure := sendFails(t, c, context.Background(), notification("w-1"))
			kind := want(status).kind
			if body == "page" {
				kind = want(status).page
			}
			if failure.Kind != kind || failure.Status != status || failure.Unsent {
				t.Errorf("%d with %s: %v, want %q", status, body, failure, kind)
			}
			if failure.MayBeDelivered != maybe(status) || failure.MayConcernMessage() != concerns(status) || failure.TimedOut() != slices.Contains([]int{408, 504, 524}, status) {
				t.Errorf("%d with %s: may be delivered %v, may concern the message %v, timed out %v", status, body, failure.MayBeDelivered, failure.MayConcernMessage(), failure.TimedOut())
			}
			// net/http's server drops the body of these.
			if hasBody := is.text != "" && status != 101 && status != 304; hasBody && !strings.Contains(failure.Error(), "odd\\n status") {
				t.Errorf("%d: the error lacks the body: %v", status, failure)
			}
		}
	}
}

// What is a page decides over a refusal.
func TestPages(t *testing.T) {
	for name, tc := range map[string]struct {
		contentType, encoding, body string
		page                        bool
	}{
		"nginx":              {"text/html", "", "<html><head><title>400 Bad Request</title></head></html>", true},
		"mislabelled page":   {"application/json", "", "\r\n <!DOCTYPE html><p>no", true},
		"page after a BOM":   {"", "", "\xef\xbb\xbf <html>", true},
		"page in UTF-16":     {"", "", "\xff\xfe<\x00h\x00t\x00m\x00l\x00>\x00", true},
		"XML":                {"", "", `<?xml version="1.0"?><Error><Code>InvalidRequest</Code></Error>`, true},
		"text called HTML":   {"text/html; charset=utf-8", "", "Bad Request", true},
		"text called XML":    {"application/xhtml+xml", "", "Bad Request", true},
		"page, compressed":   {"text/html", "gzip", gzipped("<html>no</html>"), true},
		"JSON":               {"application/json", "", `{"message":"<html>"}`, false},
		"JSON called HTML":   {"text/html", "", ` {"message":"w-1 is not known"}`, false},
		"an array":           {"text/html", "", `["w-1 is not known"]`, false},
		"JSON after a BOM":   {"text/html", "", "\xef\xbb\xbf{}", false},
		"plain text":         {"text/plain", "", "w-1 is not known < w-2", false},
		"nothing":            {"text/html", "", "", false},
		"nothing but blanks": {"text/html", "", "\r\n", false},
	} {
		c := against(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{tc.contentType}
			if tc.encoding != "" {
				w.Header().Set("Content-Encoding", tc.encoding)
			}
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, tc.body)
		})
		kind := Refused
		if tc.page {
			kind = Misconfigured
		}
		if failure := sendFails(t, c, t.Context(), notification("w-1")); failure.Kind != kind || strings.Contains(failure.Detail, "\x1f") {
			t.Errorf("%s: %v, want %q", name, failure, kind)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed bool
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/chat" {
			followed = true
		}
		w.Header().Set("Location", "/elsewhere?key=hidden")
		w.WriteHeader(http.StatusPermanentRedirect)
	})
	failure := sendFails(t, c, context.Background(), notification("w-1"))
	if failure.Kind != Misconfigured || !strings.Contains(failure.Detail, "/elsewhere") || strings.Contains(failure.Detail, "hidden") {
		t.Errorf("%v, want where it pointed, without the query", failure)
	}
	if followed {
		t.Error("the redirect was followed")
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Kind: Limited, Op: "call https://h/chat", Status: 429, RetryAfter: 30 * time.Second, Detail: "slow down"}
	if got, want := e.Error(), "call https://h/chat: limited, status 429, retry after 30s: slow down"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e = &Error{Kind: Temporary, MayBeDelivered: true, Err: context.DeadlineExceeded}
	if got, want := e.Error(), "call the Chat API: temporary, may have been delivered: context deadline exceeded"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
