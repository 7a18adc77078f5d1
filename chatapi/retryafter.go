package chatapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what a server may ask for. A longer wait is more likely a
// mistake of the server than a wish, and trying once an hour harms nobody.
const maxRetryAfter = time.Hour

// epoch is the number of seconds from which one is a point in time, not a wait: no
// server asks for thirty years.
const epoch = 1e9

// askedWait is how long the server of a failed call asks to wait. The headers that tell
// of a limit count only in answers that may be about one.
func askedWait(resp *http.Response, now time.Time) (wait time.Duration, ok bool) {
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusForbidden, http.StatusServiceUnavailable:
		return retryAfter(resp.Header, now)
	}
	return readRetryAfter(resp.Header, serverTime(resp.Header, now))
}

// retryAfter reads Retry-After (RFC 9110 section 10.2.3) as servers write it, or else
// the RateLimit headers of the IETF's draft (draft-ietf-httpapi-ratelimit-headers) and
// its forerunners. now is our time, for servers that do not tell theirs. ok is false
// when there is none that can be read.
func retryAfter(h http.Header, now time.Time) (wait time.Duration, ok bool) {
	now = serverTime(h, now)
	if wait, ok = readRetryAfter(h, now); ok {
		return wait, true
	}
	return readRateLimit(h, now)
}

// serverTime is the answer's own Date: its clock may differ from ours, and the dates in it
// are by that clock.
func serverTime(h http.Header, now time.Time) time.Time {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		return date
	}
	return now
}

// longest is the longest of several waits.
type longest struct {
	wait time.Duration
	ok   bool
}

func (l *longest) add(wait time.Duration, ok bool) {
	if ok {
		l.wait, l.ok = max(l.wait, wait), true
	}
}

func readRetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	var l longest
	for _, line := range h.Values("Retry-After") {
		if at, ok := date(line, now); ok {
			l.add(at, true)
			continue
		}
		for value := range strings.SplitSeq(line, ",") {
			l.add(number(value, time.Second, now))
		}
	}
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
		if value := h.Get(name); value != "" && !l.ok {
			l.add(number(value, time.Millisecond, now))
		}
	}
	return l.wait, l.ok
}

// readRateLimit reads when a limit that is used up is set back.
func readRateLimit(h http.Header, now time.Time) (time.Duration, bool) {
	var l longest
	for _, prefix := range []string{"Ratelimit-", "X-Ratelimit-", "X-Rate-Limit-"} {
		if !usedUp(h.Get(prefix + "Remaining")) {
			continue
		}
		for _, name := range []string{"Reset", "Reset-After"} {
			l.add(number(h.Get(prefix+name), time.Second, now))
			l.add(date(h.Get(prefix+name), now))
		}
	}
	for _, line := range h.Values("Ratelimit") {
		if strings.Contains(strings.ToLower(line), "reset=") { // a draft's older form: one limit, its parts apart by commas
			line = strings.ReplaceAll(line, ",", ";")
		}
		for limit := range strings.SplitSeq(line, ",") {
			var remaining, reset string
			for part := range strings.SplitSeq(limit, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
				switch strings.ToLower(name) {
				case "r", "remaining":
					remaining = value
				case "t", "reset":
					reset = value
				}
			}
			if usedUp(remaining) {
				l.add(number(reset, time.Second, now))
			}
		}
	}
	return l.wait, l.ok
}

// usedUp reports whether nothing remains, or nothing is said of it.
func usedUp(remaining string) bool {
	n, err := strconv.ParseFloat(strings.TrimSpace(remaining), 64)
	return err != nil || n <= 0
}

// number reads so many units: 12, 12.5, "12", 12s, 1m30s, 12;comment. One that is huge is a
// point in time, in seconds or milliseconds since 1970.
func number(text string, unit time.Duration, now time.Time) (time.Duration, bool) {
	text, _, _ = strings.Cut(text, ";")
	text = strings.ToLower(strings.Trim(text, " \t\""))
	text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(text, "seconds"), "sec"))
	if wait, err := time.ParseDuration(text); err == nil && strings.Trim(text, "0") != "" {
		return min(wait, maxRetryAfter), wait >= 0
	}
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return maxRetryAfter, errors.Is(err, strconv.ErrRange) // it is huge
	}
	if unit == time.Second && n >= epoch*1e3 {
		n /= 1e3
	}
	if unit == time.Second && n >= epoch {
		n = until(min(n-float64(now.UnixMilli())/1e3, maxRetryAfter.Seconds()))
	}
	return time.Duration(min(n*float64(unit), float64(maxRetryAfter))), true
}

// until is how many seconds to wait for a point in time: it is written in whole seconds, so it
// may be up to one later. One that is past is no wait.
func until(left float64) float64 {
	if left <= 0 {
		return 0
	}
	return left + 1
}

// date reads a point in time, as HTTP and others write it.
func date(text string, now time.Time) (time.Duration, bool) {
	text = strings.Trim(text, " \t\"")
	at, err := http.ParseTime(text)
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, time.RFC3339} {
		if err != nil {
			at, err = time.Parse(layout, text)
		}
	}
	left := until(min(at.Sub(now), maxRetryAfter).Seconds())
	return min(time.Duration(left*float64(time.Second)), maxRetryAfter), err == nil
}
