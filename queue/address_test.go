package queue

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// Addresses that hold a secret are either understood or refused; neither shows a part of the secret.
func TestAddresses(t *testing.T) {
	const tail = "; in a user, password or token, write"
	for _, c := range []struct{ list, shown, fault string }{
		{list: "nats://127.0.0.1:4222", shown: "nats://127.0.0.1:4222"},
		{list: "127.0.0.1", shown: "nats://127.0.0.1"},
		{list: " nats://a:1/ , tls://b , ,c:3\n", shown: "nats://a:1,tls://b,nats://c:3"},
		{list: "wss://h:443/way", shown: "wss://h:443"},
		{list: "nats://user:hush@h:1,nats://hush@i,hush@j,user:hush@k", fault: "number 4 of 4: it has another kind of login"},
		{list: "nats://user:hush@h:1,nats://hush@i,hush@j,nats://user:hush@k", shown: "nats://h:1,nats://i,nats://j,nats://k"},
		{list: "nats://user:hu@sh@h", shown: "nats://h"},
		{list: "nats://user:hu:sh@h", shown: "nats://h"},
		{list: "nats://user:hu%2Fsh%25@h", shown: "nats://h"},
		{list: "nats://user:hu%sh@h", fault: "a % is not followed by two hexadecimal digits"},
		{list: "nats://user:hush%@h", fault: "a % is not followed by two hexadecimal digits"},
		{list: "nats://user:hu/sh@h", fault: "what follows the host is no port"},
		{list: "nats://user:hu#sh@h", fault: "what follows the host is no port"},
		{list: "nats://user:hu?sh@h", fault: "what follows the host is no port"},
		{list: "nats://user:hu sh@h", fault: "a character that must be encoded"},
		{list: "nats://user:hu\x01sh@h", fault: "it has a control character"},
		{list: "nats://user:hu[sh@h", fault: "a character that must be encoded"},
		{list: "nats://user:hu,sh@h", fault: "number 1 of 2: what follows the host is no port"},
		{list: "nats://user:42/hush@h", fault: "it has a path"},
		{list: "nats://user:42#hush@h", fault: "it has a fragment"},
		{list: "nats://user:42#", fault: "it has a fragment"},
		{list: "nats://user:42?hush@h", fault: "it has a query"},
		{list: "nats://user:42?", fault: "it has a query"},
		{list: "ws://user:42/hush@h", fault: "it has a path"},
		{list: "nats://user:42,hush@h", fault: "number 2 of 2: it has another kind of login"},
		{list: "nats://user:hu@sh,hush@h", fault: "number 2 of 2: it has another kind of login"},
		{list: "nats://hush hush@h", fault: "a character that must be encoded"},
		{list: "nats://h:1,nats://user:hu%sh@i,nats://j", fault: "number 2 of 3: a % is not"},
		{list: "nats://user:hush", fault: "what follows the host is no port"},
		{list: "nats://hush hush", fault: "its host has a character that no host has"},
		{list: "nats://[hush", fault: "a [ in its host is not closed"},
		{list: "://hush", fault: "it is no URL such as"},
	} {
		shown := c.shown
		if c.fault != "" {
			shown = "(malformed address)"
		}
		if got := RedactURL(c.list); got != shown {
			t.Errorf("%q is shown as %q, want %q", c.list, got, shown)
		}
		_, err := parseAddresses(c.list)
		switch {
		case c.fault == "" && err != nil:
			t.Errorf("%q is refused: %v", c.list, err)
		case c.fault != "" && (!errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), tail)):
			t.Errorf("%q: %v, want %q", c.list, err, c.fault)
		}
		if err != nil {
			for _, part := range []string{"hu", "sh@", "sh%", "42", "user:", "sh@h"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("the error for %q quotes %q: %v", c.list, part, err)
				}
			}
		}
	}
}

// A malformed address is refused at once, however patient one is.
func TestMalformedAddress(t *testing.T) {
	said := func(err error) { t.Errorf("said %v", err) }
	_, err := Connect(t.Context(), Config{URL: "nats://user:hu%sh@127.0.0.1:1", Patience: time.Hour, OnConnection: said})
	if !errors.Is(err, ErrAddress) || strings.Contains(err.Error(), "sh") {
		t.Errorf("error %v", err)
	}
}

// What is said of an address where nobody answers shows where that is, and no login.
func TestErrorsShowNoLogin(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var said []string
	_, err := Connect(ctx, Config{
		URL: "nats://user:hush@127.0.0.1:1,nats://hush@127.0.0.1:2", Patience: time.Hour,
		OnConnection: func(err error) { said = append(said, err.Error()); cancel() },
	})
	for _, text := range append(said, err.Error()) {
		if !errors.Is(err, ErrNoServer) || len(said) != 1 || strings.Contains(text, "hush") || strings.Contains(text, "user") || !strings.Contains(text, "nats://127.0.0.1:1,nats://127.0.0.1:2") {
			t.Errorf("said %q", text)
		}
	}
}
