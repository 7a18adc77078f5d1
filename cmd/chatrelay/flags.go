package main

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// daysAndWeeks are what time.ParseDuration does not know.
var daysAndWeeks = regexp.MustCompile(`([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([dw])`)

// parseDuration reads a duration as people give it: as Go writes it, and with d for days of 24 hours and w
// for weeks, such as 1w2d12h.
func parseDuration(s string) (time.Duration, error) {
	inHours := daysAndWeeks.ReplaceAllStringFunc(s, func(part string) string {
		n, _ := strconv.ParseFloat(part[:len(part)-1], 64) // as large as it may be, which is refused below
		n *= 24
		if part[len(part)-1] == 'w' {
			n *= 7
		}
		return strconv.FormatFloat(n, 'f', -1, 64) + "h"
	})
	d, err := time.ParseDuration(inHours)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 90s, 36h, 2d or 1w; the units are ms, s, m, h, d, w", s)
	}
	return d, nil
}

// duration is a flag's value that may be given in days and weeks as well.
type duration struct{ pflag.Value }

// Set implements pflag.Value.
func (v duration) Set(s string) error {
	d, err := parseDuration(s)
	if err != nil {
		return err
	}
	return v.Value.Set(d.String())
}

// withDays lets all durations among the flags of a command, and of those beneath it, be given in days.
func withDays(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == "duration" {
			f.Value = duration{f.Value}
			if f.DefValue == "0s" {
				f.DefValue = "0" // which the help leaves out whatever the type
			}
		}
	})
	for _, sub := range cmd.Commands() {
		withDays(sub)
	}
}

// shownTime is how dead list shows times, in UTC.
const shownTime = "2006-01-02 15:04"

// parseTime reads a time as people give it: RFC 3339, or a duration from now (direction 1) or before
// now (direction -1). What has no zone is read only to look back, as UTC: good enough to find a letter, not
// to deliver a message.
func parseTime(s string, direction int) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := parseDuration(s); err == nil {
		if d < 0 {
			return time.Time{}, fmt.Errorf("the duration %s is negative", s)
		}
		return time.Now().Add(time.Duration(direction) * d), nil
	}
	layouts, also := []string{time.RFC3339}, ""
	if direction < 0 {
		layouts, also = append(layouts, shownTime, time.DateOnly), ", nor one in UTC such as 2026-11-23 or 2026-11-23 09:00"
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration such as 90m, 36h, 2d or 1w nor a time such as 2026-11-23T09:00:00Z%s", s, also)
}

// complete offers the values that a flag can have.
func complete[T ~string](values []T) cobra.CompletionFunc {
	names := make([]cobra.Completion, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
}
