package chatapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestKindOf(t *testing.T) {
	wrapped := fmt.Errorf("send: %w", &Error{Kind: Limited})
	if got := KindOf(wrapped); got != Limited {
		t.Errorf("a wrapped error is %q", got)
	}
	if a, b := KindOf(errors.New("x")), KindOf(nil); a != Other || b != Other {
		t.Errorf("other errors are %q and %q", a, b)
	}
}

func TestKindsSayWhomTheyConcernAndWhatToDo(t *testing.T) {
	all := map[Kind]bool{Limited: true, Credential: true}
	advised := map[Kind]string{Credential: "secret", Misconfigured: "address"}
	for _, k := range []Kind{Temporary, Limited, Credential, Refused, Misconfigured, Unreadable, Other} {
		if k.ConcernsAllWorkers() != all[k] {
			t.Errorf("%s: concerns all workers: %v", k, k.ConcernsAllWorkers())
		}
		if advice := k.Advice(); (advice == "") != (advised[k] == "") || !strings.Contains(advice, advised[k]) {
			t.Errorf("%s: the advice is %q", k, advice)
		}
	}
}

func TestLogTextLeavesOutWhatTheServerSaid(t *testing.T) {
	for want, err := range map[string]error{
		"call x: refused, status 400":                              &Error{Kind: Refused, Op: "call x", Status: 400, Detail: "w-1 is unknown"},
		"call x: temporary, status 504, may have been delivered":   fmt.Errorf("send: %w", &Error{Kind: Temporary, Op: "call x", Status: 504, MayBeDelivered: true, Detail: "w-1"}),
		"call x: temporary: dial tcp 127.0.0.1:1: connect refused": &Error{Kind: Temporary, Op: "call x", Detail: "dial tcp 127.0.0.1:1: connect refused"},
		"get a token: credential, status 401: invalid_client: bad": &Error{Kind: Credential, Op: "get a token", Status: 401, Unsent: true, Detail: "invalid_client: bad"},
		"disk full": errors.New("disk full"),
	} {
		if got := LogText(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
