package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// parseTime reads a time as people give it: RFC 3339, or a duration from now (direction 1) or before
// now (direction -1).
func parseTime(s string, direction int) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		if d < 0 {
			return time.Time{}, fmt.Errorf("the duration %s is negative", s)
		}
		return time.Now().Add(time.Duration(direction) * d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-23T09:00:00Z nor a duration such as 90m", s)
	}
	return t, nil
}

// complete offers the values that a flag can have.
func complete[T ~string](values []T) cobra.CompletionFunc {
	names := make([]cobra.Completion, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
}
