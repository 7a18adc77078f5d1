package chatapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// want gives the kind of every status, from the list rather than the ranges.
func want(status int) Kind {
	switch status {
	case 408, 425:
		return Temporary
	case 429:
		return Limited
	case 401, 403:
		return Credential
	case 404, 405:
		return Misconfigured
	}
	return []Kind{1: Misconfigured, 2: "", 3: Misconfigured, 4: Refused, 5: Temporary}[status/100]
}

func TestClassifyEveryStatus(t *testing.T) {
	for status := 100; status <= 599; status++ {
		if got := classify(status, false); got != want(status) {
			t.Errorf("%d is %q, want %q", status, got, want(status))
		}
	}
	for _, status := range []int{-1, 0, 99, 600, 999} {
		if got := classify(status, false); got != Misconfigured {
			t.Errorf("%d is %q, want misconfigured", status, got)
		}
	}
	if got := classify(503, true); got != Limited {
		t.Errorf("503 with Retry-After is %q, want limited", got)
	}
	for status, want := range map[int]Kind{200: Temporary, 204: Temporary, 302: Misconfigured, 400: Credential, 401: Credential,
		403: Credential, 404: Misconfigured, 405: Misconfigured, 408: Temporary, 415: Misconfigured, 429: Limited, 500: Temporary, 503: Temporary} {
		if got := classifyToken(status, false); got != want {
			t.Errorf("token endpoint's %d is %q, want %q", status, got, want)
		}
	}
}

func TestSendMeetsEveryStatus(t *testing.T) {
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		if status == http.StatusSwitchingProtocols {
			w.Header().Set("Upgrade", "other")
			w.Header().Set("Connection", "Upgrade")
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message": "status\n %d"}`, status)
	})
	for status := 101; status <= 599; status++ {
		if status == 102 {
			status = 200 // net/http passes over the other 1xx and waits on
		}
		c.blank.URL.RawQuery = fmt.Sprint("status=", status)
		failure := sendFails(t, c, context.Background(), notification("w-1"))
		kind, maybe := want(status), status == 504
		if kind == "" {
			kind, maybe = Unreadable, true
		}
		if failure.Kind != kind || failure.Status != status || failure.MayBeDelivered != maybe {
			t.Errorf("%d: %v (may be delivered: %v), want %q", status, failure, failure.MayBeDelivered, kind)
		}
		// net/http's server drops the body of these.
		if hasBody := status != 101 && status != 204 && status != 304; hasBody && !strings.Contains(failure.Error(), fmt.Sprintf("status\\n %d", status)) {
			t.Errorf("%d: the error lacks the body: %v", status, failure)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for value, want := range map[string]struct {
		wait time.Duration
		ok   bool
	}{
		"":                              {0, false},
		"0":                             {0, true},
		"17":                            {17 * time.Second, true},
		" 17 ":                          {17 * time.Second, true},
		"3600":                          {time.Hour, true},
		"3601":                          {time.Hour, true},
		"99999999999999999999999":       {time.Hour, true},
		"-5":                            {0, false},
		"1.5":                           {0, false},
		"soon":                          {0, false},
		"Mon, 23 Nov 2026 09:01:30 GMT": {90 * time.Second, true},
		"Mon, 23 Nov 2026 08:00:00 GMT": {0, true},
		"Mon, 23 Nov 2099 08:00:00 GMT": {time.Hour, true},
	} {
		wait, ok := retryAfter(http.Header{"Retry-After": {value}}, now)
		if wait != want.wait || ok != want.ok {
			t.Errorf("Retry-After %q = %v, %v; want %v, %v", value, wait, ok, want.wait, want.ok)
		}
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	for status, kind := range map[int]Kind{429: Limited, 503: Limited, 500: Temporary} {
		c := against(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
		})
		failure := sendFails(t, c, context.Background(), notification("w-1"))
		if failure.Kind != kind || failure.RetryAfter != 7*time.Second {
			t.Errorf("%d: %v, want %q after 7s", status, failure, kind)
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
