package chatapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

func TestRequestsOnTheWire(t *testing.T) {
	var form, basic, chat, chatType, auth string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/token" {
			form, basic = string(body), r.Header.Get("Authorization")
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token":"tok","token_type":"Bearer"}`)
			return
		}
		chat, chatType, auth = string(body), r.Header.Get("Content-Type"), r.Header.Get("Authorization")
		fmt.Fprint(w, `{"success":true,"data":{"errors":[]},"info":"x"}`)
	}))
	defer server.Close()
	c := newClient(t, server.URL+"/chat/", server.URL+"/token", time.Second)
	if _, err := c.Send(t.Context(), notification("w-1", "w-2")); err != nil {
		t.Fatal(err)
	}
	for _, got := range [][2]string{
		{form, "client_id=chatrelay-dev&client_secret=s3cr3t%2Fof%2Bthe+client&grant_type=client_credentials"},
		{basic, ""},
		{chat, `{"project_id":"` + testProject + `","message":"Your coffee is ready.","woven_ids":["w-1","w-2"]}`},
		{chatType, "application/json"},
		{auth, "Bearer tok"},
	} {
		if got[0] != got[1] {
			t.Errorf("sent %q, want %q", got[0], got[1])
		}
	}
	if _, err := c.Send(t.Context(), notification()); err != nil || !strings.Contains(chat, `"woven_ids":[]`) {
		t.Errorf("no recipients: %v, sent %s", err, chat)
	}
	failure := sendFails(t, c, t.Context(), Notification{Message: "\xff"})
	if failure.Kind != Refused {
		t.Errorf("a message that is not UTF-8: %v, want refused", failure)
	}
}

// together runs Send n times at once and fails on any error.
func together(t *testing.T, c *Client, n int) {
	t.Helper()
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			if _, err := c.Send(t.Context(), notification("w-1")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestTokenIsSharedAndRefreshedOnce(t *testing.T) {
	api, c := startAPI(t, chatapitest.Config{})
	together(t, c, 50)
	together(t, c, 50)
	if got := api.Counts().TokensIssued; got != 1 {
		t.Fatalf("%d tokens for 100 calls, want 1", got)
	}
	api.RevokeTokens()
	together(t, c, 50)
	if counts := api.Counts(); counts.TokensIssued != 2 || counts.Delivered != 150 {
		t.Errorf("%+v after a revocation, want one more token and 150 delivered", counts)
	}
}

func TestSecond401IsTheCredential(t *testing.T) {
	api, c := startAPI(t, chatapitest.Config{})
	api.SetDown(401)
	failure := sendFails(t, c, t.Context(), notification("w-1"))
	if counts := api.Counts(); failure.Kind != Credential || failure.Status != 401 || counts.Calls != 2 || counts.TokensIssued != 2 {
		t.Errorf("%v after %+v; want credential after two calls and two tokens", failure, counts)
	}
	api.SetDown(0)
	if _, err := c.Send(t.Context(), notification("w-1")); err != nil {
		t.Errorf("once it works again: %v", err)
	}
}

func TestTokenFailures(t *testing.T) {
	echo := fmt.Sprintf(`{"error":"odd","error_description":"you said %s\n"}`, testSecret)
	for name, tc := range map[string]struct {
		status int
		body   string
		header string
		kind   Kind
		detail string
	}{
		"400":             {400, echo, "", Credential, "odd: you said [secret]"},
		"401":             {401, `{"error":"invalid_client"}`, "", Credential, "invalid_client"},
		"403":             {403, testSecret, "", Credential, "without an error code"},
		"404":             {404, "", "", Misconfigured, ""},
		"405":             {405, "", "", Misconfigured, ""},
		"302":             {302, "", "https://login.example/?x=" + testSecret, Misconfigured, "redirected to https://login.example/"},
		"429":             {429, "", "9", Limited, ""},
		"500":             {500, testSecret, "", Temporary, ""},
		"503":             {503, "", "9", Limited, ""},
		"no token":        {200, `{}`, "", Temporary, "missing access_token"},
		"not JSON":        {200, "<html>" + testSecret, "", Temporary, ""},
		"200 as an error": {200, echo, "", Temporary, "[secret]"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if tc.status == 302 {
					w.Header().Set("Location", tc.header)
				} else if tc.header != "" {
					w.Header().Set("Retry-After", tc.header)
				}
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			}))
			defer server.Close()
			c := newClient(t, server.URL, server.URL+"/token", time.Second)
			failure := sendFails(t, c, t.Context(), notification("w-1"))
			if failure.Kind != tc.kind || failure.MayBeDelivered || !strings.Contains(failure.Detail, tc.detail) || !strings.Contains(failure.Op, "token") {
				t.Errorf("%v, want %q with %q", failure, tc.kind, tc.detail)
			}
			if tc.status == 429 && failure.RetryAfter != 9*time.Second {
				t.Errorf("RetryAfter = %v", failure.RetryAfter)
			}
			for err := error(failure); err != nil; err = errors.Unwrap(err) {
				if strings.Contains(fmt.Sprintf("%v %+v", err, err), testSecret) {
					t.Errorf("the secret shows in %T", err)
				}
			}
			if err := c.CheckToken(t.Context()); err == nil {
				t.Error("CheckToken = nil")
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		done := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-done }))
		defer server.Close()
		defer close(done)
		c := newClient(t, server.URL, server.URL, 100*time.Millisecond)
		failure := sendFails(t, c, t.Context(), notification("w-1"))
		if failure.Kind != Temporary || failure.MayBeDelivered || !errors.Is(failure, context.DeadlineExceeded) {
			t.Errorf("%v, want temporary", failure)
		}
	})
}

func TestEchoedTokenIsRedacted(t *testing.T) {
	c := against(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(400)
		fmt.Fprintf(w, "%s %s %s", r.Header.Get("Authorization"), body, testSecret)
	})
	failure := sendFails(t, c, t.Context(), notification("w-1"))
	if text := failure.Error(); strings.Contains(text, "token-") || strings.Contains(text, "coffee") || !strings.Contains(text, "Bearer [token]") {
		t.Errorf("%s, want it redacted", text)
	}
}

func TestCheckToken(t *testing.T) {
	api, c := startAPI(t, chatapitest.Config{})
	for range 2 {
		if err := c.CheckToken(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if counts := api.Counts(); counts.TokensIssued != 1 || counts.Calls != 0 {
		t.Errorf("%+v, want one token and no call", counts)
	}
}

func TestWaitersShareARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetches, failures atomic.Int32
		broken := true
		c := tokenCache{timeout: time.Minute, patience: tokenPatience, fetch: func(ctx context.Context) (string, time.Duration, *Error) {
			fetches.Add(1)
			select {
			case <-time.After(900 * time.Millisecond):
			case <-ctx.Done():
				return "", 0, &Error{Kind: Temporary, Err: ctx.Err()}
			}
			if broken {
				return "", 0, &Error{Kind: Credential}
			}
			return "fresh", 0, nil
		}}
		// The first to come starts the refresh, and leaves before it ends.
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			if _, failure := c.get(impatient, ""); !errors.Is(failure, context.DeadlineExceeded) {
				t.Errorf("impatient: %v", failure)
			}
		})
		synctest.Wait()
		for range 50 {
			group.Go(func() {
				if _, failure := c.get(t.Context(), ""); failure != nil && failure.Kind == Credential {
					failures.Add(1)
				}
			})
		}
		group.Wait()
		if fetches.Load() != 1 || failures.Load() != 50 {
			t.Errorf("%d fetches, %d shared its failure; want 1 and 50", fetches.Load(), failures.Load())
		}
		broken = false
		time.Sleep(2 * time.Second) // the pause is over
		if token, failure := c.get(t.Context(), ""); token != "fresh" || failure != nil {
			t.Errorf("the next: %q, %v", token, failure)
		}
	})
}
