package chatapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what a server may ask for. A longer wait is more likely a
// mistake of the server than a wish, and trying once an hour harms nobody.
const maxRetryAfter = time.Hour

// classify gives the kind of failure that a status of the Chat API means. It
// returns "" for 2xx, where the body decides. The document describes the 200
// only; the rest follows what the statuses mean in RFC 9110.
func classify(status int, hasRetryAfter bool) Kind {
	switch {
	case status >= 200 && status <= 299:
		return ""
	case status == http.StatusTooManyRequests,
		status == http.StatusServiceUnavailable && hasRetryAfter:
		return Limited
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly,
		status >= 500 && status <= 599:
		return Temporary
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Credential
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return Misconfigured
	case status >= 400 && status <= 499:
		return Refused
	default:
		// 1xx, 3xx, and what HTTP does not know: no Chat API answers like that.
		return Misconfigured
	}
}

// classifyToken gives the kind of failure that a status of the token endpoint
// means. A recipient cannot be the cause, so nothing here is Refused.
func classifyToken(status int, hasRetryAfter bool) Kind {
	switch kind := classify(status, hasRetryAfter); {
	case kind == "":
		return Temporary // a 2xx without a token
	case status == http.StatusBadRequest:
		return Credential // RFC 6749 section 5.2 answers bad credentials so
	case kind == Refused:
		return Misconfigured
	default:
		return kind
	}
}

// retryAfter reads a Retry-After header: seconds or an HTTP date (RFC 9110
// section 10.2.3). ok is false when there is none that can be read.
func retryAfter(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0, false
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter, true // digits only: the error is that it is huge
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}
