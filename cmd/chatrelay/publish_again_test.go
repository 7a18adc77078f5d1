package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Whoever publishes the rest of a long run is not told that all of it would be recognized.
func TestAdviceToPublishAgainKnowsTheWindow(t *testing.T) {
	for took, want := range map[time.Duration]string{time.Minute: "what is stored is not stored twice\n", time.Hour: "leave out the lines before, which would be\n"} {
		var out, errs strings.Builder
		a := &app{stdout: &out, stderr: &errs}
		var sum published
		sum.Unread = true
		_ = a.reportPublished(sum, took, errors.New("the disk is on fire"))
		if !strings.HasSuffix(errs.String(), want) {
			t.Errorf("after %v: %q", took, errs.String())
		}
	}
}
