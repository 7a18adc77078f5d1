package chatapi

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	const none = -1
	for _, tc := range []struct {
		header []string // names and values
		wait   time.Duration
	}{
		{nil, none},
		{[]string{"Retry-After", ""}, none},
		{[]string{"Retry-After", "soon"}, none},
		{[]string{"Retry-After", "-5"}, none},
		{[]string{"Retry-After", "-5s"}, none},
		{[]string{"Retry-After", "1.2.3"}, none},
		{[]string{"Retry-After", "."}, none},
		{[]string{"Retry-After", "0"}, 0},
		{[]string{"Retry-After", "17"}, 17 * time.Second},
		{[]string{"Retry-After", " 17 "}, 17 * time.Second},
		{[]string{"Retry-After", `"17"`}, 17 * time.Second},
		{[]string{"Retry-After", "12.5"}, 12500 * time.Millisecond},
		{[]string{"Retry-After", "12s"}, 12 * time.Second},
		{[]string{"Retry-After", "12 seconds"}, 12 * time.Second},
		{[]string{"Retry-After", "1m30s"}, 90 * time.Second},
		{[]string{"Retry-After", "12; comment=x"}, 12 * time.Second},
		{[]string{"Retry-After", "3600"}, time.Hour},
		{[]string{"Retry-After", "3601"}, time.Hour},
		{[]string{"Retry-After", "2h"}, time.Hour},
		{[]string{"Retry-After", "99999999999999999999999"}, time.Hour},
		{[]string{"Retry-After", "1795424430"}, 31 * time.Second},    // 2026-11-23 09:00:30
		{[]string{"Retry-After", "1795424430000"}, 31 * time.Second}, // in milliseconds

		// The longest of several.
		{[]string{"Retry-After", "12, 2"}, 12 * time.Second},
		{[]string{"Retry-After", "2,12"}, 12 * time.Second},
		{[]string{"Retry-After", "2", "Retry-After", "12"}, 12 * time.Second},
		{[]string{"Retry-After", "12", "Retry-After", "2"}, 12 * time.Second},
		{[]string{"Retry-After", "12", "Retry-After", "soon"}, 12 * time.Second},
		{[]string{"Retry-After", "12", "Retry-After", "Mon, 23 Nov 2026 09:01:30 GMT"}, 91 * time.Second},

		// Dates are by the server's clock, and may be up to a second later than they say.
		{[]string{"Retry-After", "Mon, 23 Nov 2026 09:01:30 GMT"}, 91 * time.Second},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 09:01:30 UTC"}, 91 * time.Second},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 10:01:30 +0100"}, 91 * time.Second},
		{[]string{"Retry-After", "Monday, 23-Nov-26 09:01:30 GMT"}, 91 * time.Second},
		{[]string{"Retry-After", "2026-11-23T09:01:30Z"}, 91 * time.Second},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 08:00:00 GMT"}, 0},
		{[]string{"Retry-After", "Mon, 23 Nov 2099 08:00:00 GMT"}, time.Hour},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 09:01:30 GMT", "Date", "Mon, 23 Nov 2026 09:01:00 GMT"}, 31 * time.Second},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 08:01:30 GMT", "Date", "Mon, 23 Nov 2026 08:01:00 GMT"}, 31 * time.Second},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 09:01:30 GMT", "Date", "today"}, 91 * time.Second},
		{[]string{"Retry-After", "1795424430", "Date", "Mon, 23 Nov 2026 09:00:20 GMT"}, 11 * time.Second},

		{[]string{"Retry-After-Ms", "1500"}, 1500 * time.Millisecond},
		{[]string{"X-Ms-Retry-After-Ms", "1500"}, 1500 * time.Millisecond},
		{[]string{"Retry-After", "2", "Retry-After-Ms", "1500"}, 2 * time.Second},

		// What tells of a limit, when Retry-After does not.
		{[]string{"RateLimit-Reset", "12"}, 12 * time.Second},
		{[]string{"RateLimit-Reset", "12", "Retry-After", "3"}, 3 * time.Second},
		{[]string{"RateLimit-Reset", "12", "Retry-After", "soon"}, 12 * time.Second},
		{[]string{"RateLimit-Limit", "100", "RateLimit-Remaining", "0", "RateLimit-Reset", "12"}, 12 * time.Second},
		{[]string{"RateLimit-Limit", "100", "RateLimit-Remaining", "7", "RateLimit-Reset", "12"}, none},
		{[]string{"X-RateLimit-Reset", "12"}, 12 * time.Second},
		{[]string{"X-RateLimit-Reset", "1795424430"}, 31 * time.Second},
		{[]string{"X-RateLimit-Reset", "1795424430", "Date", "Mon, 23 Nov 2026 09:00:20 GMT"}, 11 * time.Second},
		{[]string{"X-RateLimit-Reset", "2026-11-23T09:00:30Z"}, 31 * time.Second},
		{[]string{"X-RateLimit-Remaining", "1", "X-RateLimit-Reset", "1795424430"}, none},
		{[]string{"X-Rate-Limit-Reset", "12"}, 12 * time.Second},
		{[]string{"X-RateLimit-Reset-After", "1.5"}, 1500 * time.Millisecond},
		{[]string{"RateLimit", `"default";r=0;t=12`}, 12 * time.Second},
		{[]string{"RateLimit", `"default";r=3;t=12`}, none},
		{[]string{"RateLimit", `"default";t=12`}, 12 * time.Second},
		{[]string{"RateLimit", `"second";r=0;t=1, "hour";r=0;t=12, "day";r=900;t=80000`}, 12 * time.Second},
		{[]string{"RateLimit", `"second";r=0;t=1`, "RateLimit", `"hour";r=0;t=12`}, 12 * time.Second},
		{[]string{"RateLimit", `limit=100, remaining=0, reset=12`}, 12 * time.Second},
		{[]string{"RateLimit", `limit=100, remaining=5, reset=12`}, none},
		{[]string{"RateLimit-Policy", `"default";q=100;w=12`}, none},
	} {
		h := http.Header{}
		for i := 0; i < len(tc.header); i += 2 {
			h.Add(tc.header[i], tc.header[i+1])
		}
		wait, ok := retryAfter(h, now)
		if !ok {
			wait = none
		}
		if wait != tc.wait {
			t.Errorf("%q is %v, want %v", tc.header, wait, tc.wait)
		}
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	for _, tc := range []struct {
		status        int
		header, value string
		kind          Kind
		wait          time.Duration
	}{
		{429, "Retry-After", "7.5", Limited, 7500 * time.Millisecond},
		{429, "RateLimit-Reset", "7", Limited, 7 * time.Second},
		{403, "X-RateLimit-Reset", "7", Credential, 7 * time.Second},
		{503, "Retry-After", "7", Limited, 7 * time.Second},
		{503, "Retry-After", "0", Limited, 0},
		{503, "RateLimit", `"d";r=0;t=7`, Limited, 7 * time.Second},
		{503, "RateLimit", `"d";r=9;t=7`, Temporary, 0},
		{503, "Retry-After", "-1", Temporary, 0},
		{500, "Retry-After", "7", Temporary, 7 * time.Second},
		{500, "RateLimit-Reset", "7", Temporary, 0},
		{400, "RateLimit-Reset", "7", Refused, 0},
	} {
		c := against(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(tc.header, tc.value)
			w.WriteHeader(tc.status)
		})
		if failure := sendFails(t, c, t.Context(), notification("w-1")); failure.Kind != tc.kind || failure.RetryAfter != tc.wait {
			t.Errorf("%d with %s: %v, want %q after %v", tc.status, tc.header, failure, tc.kind, tc.wait)
		}
	}
}
