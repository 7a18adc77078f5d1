package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestKnownErrorsComeWithAdvice(t *testing.T) {
	for _, a := range advices {
		if text := advised(fmt.Errorf("status: %w", errors.Join(errors.New("other"), a.err))); !strings.HasSuffix(text, a.err.Error()+"; "+a.what) {
			t.Errorf("%q lacks the advice %q", text, a.what)
		}
	}
	if text := advised(errors.New("disk full")); text != "disk full" {
		t.Errorf("advice about an unknown error: %q", text)
	}
}
