package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"2d": 48 * time.Hour, "1w": 168 * time.Hour, "1d12h": 36 * time.Hour, "36h": 36 * time.Hour, "90m": 90 * time.Minute, "1w2d3h4m5s6ms": 219*time.Hour + 4*time.Minute + 5006*time.Millisecond,
		"1.5d": 36 * time.Hour, ".5w": 84 * time.Hour, "2.d": 48 * time.Hour, "0": 0, "0d": 0, "-2d": -48 * time.Hour, "12h1d": 36 * time.Hour,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "2", "2 d", " 2d", "2D", "2days", "2d3", "1dd", "2d-1h", "1e3d", "1mo", "99999999999w", strings.Repeat("9", 400) + "d", "yesterday", "２d", "2d\n"} {
		if got, err := parseDuration(text); err == nil || strings.Contains(err.Error(), "time:") || !strings.Contains(err.Error(), "2d or 1w") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestParseTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-23T09:00:00Z": at, "2026-11-23T10:00:00+01:00": at, "2026-11-23 09:00": at, "2026-11-23": at.Add(-9 * time.Hour), "": {},
	} {
		if got, err := parseTime(text, -1); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for direction, ago := range map[int]time.Duration{1: -48 * time.Hour, -1: 48 * time.Hour} {
		if got, err := parseTime("2d", direction); err != nil || time.Since(got).Round(time.Hour) != ago {
			t.Errorf("2d in direction %d: %v, %v", direction, got, err)
		}
	}
	for _, text := range []string{"-2d", "yesterday", "2026-11-31", "2026-11-23T09:00:00", "23.11.2026", "09:00"} {
		if got, err := parseTime(text, -1); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
	for _, text := range []string{"2026-11-23", "2026-11-23 09:00"} {
		if got, err := parseTime(text, 1); err == nil {
			t.Errorf("to deliver at %q is taken for %v, though nobody knows in which zone", text, got)
		}
	}
}
