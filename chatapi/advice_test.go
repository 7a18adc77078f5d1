package chatapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
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

func TestAdviceIsAsExactAsTheFailure(t *testing.T) {
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, "<html>no") }
	}
	text := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, "secret words of the server")
		}
	}
	for want, handler := range map[string]http.HandlerFunc{
		"a page instead of the Chat API":    html(200),
		"answers with a page":               html(400),
		"load balancer answers with a page": html(404),
		"what answers instead of":           func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"secret words"}`) },
		"may call for this project":         text(403),
		"id and secret":                     text(401),
		"version of the Chat API":           text(410),
		"HTTPS_PROXY":                       text(407),
		"quota":                             text(402),
		"which server its host name":        text(421),
		"wants another protocol":            text(426),
		"token made smaller":                text(431),
		"what it blocks":                    text(451),
		"fewer recipients":                  text(413),
		"only large calls":                  text(504),
		"check the addresses":               text(418),
		"":                                  text(500),
	} {
		failure := sendFails(t, against(t, handler), t.Context(), notification("w-1"))
		checkAdvice(t, failure, want)
		if text := LogText(failure); strings.Contains(text, "secret words") || strings.Contains(want, "page") != strings.Contains(text, "answered with a page") ||
			strings.Contains(want, "what answers instead of") != strings.Contains(text, "not an answer of the Chat API") {
			t.Errorf("the text for logs is %q", text)
		}
	}
	for want, e := range map[string]*Error{
		"address of the token endpoint": {Kind: Misconfigured, Status: 404, Unsent: true},
		"what answers there":            {Kind: Misconfigured, Status: 302, Unsent: true},
		"client id and secret":          {Kind: Credential, Status: 403, Unsent: true},
		"HTTPS_PROXY":                   {Kind: Misconfigured, Status: 407, Unsent: true},
		"":                              {Kind: Temporary, Status: 503, Unsent: true},
	} {
		checkAdvice(t, e, want)
	}
}

func TestAdviceOnConnections(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	trusting := func(host string) *tls.Config {
		cfg := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		cfg.ServerName = host
		return cfg
	}
	late := trusting("")
	late.Time = func() time.Time { return time.Now().AddDate(100, 0, 0) }
	old := trusting("")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	defer proxy.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	through := func(address string) func(*http.Request) (*url.URL, error) {
		return func(*http.Request) (*url.URL, error) { return url.Parse(address) }
	}
	tokens := chatapitest.Start(chatapitest.Config{ClientSecret: testSecret})
	defer tokens.Close()
	for want, tc := range map[string]struct {
		url   string
		tls   *tls.Config
		proxy string
	}{
		"SSL_CERT_FILE":            {url: server.URL},
		"another host name":        {url: server.URL, tls: trusting("elsewhere.example")},
		"certificate renewed":      {url: server.URL, tls: late},
		"speak https":              {url: "https" + strings.TrimPrefix(plain.URL, "http")},
		"nothing accepts":          {url: closed.URL},
		"host name":                {url: "https://chat.invalid/chat"},
		"user name and password":   {url: server.URL, proxy: proxy.URL},
		"its proxy can be reached": {url: server.URL, proxy: closed.URL},
		"":                         {url: server.URL, tls: old},
	} {
		c := newClient(t, tc.url, tokens.TokenURL(), 5*time.Second)
		if err := c.CheckToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		adjust(c, func(t *http.Transport) {
			t.TLSClientConfig = tc.tls
			if tc.proxy != "" {
				t.Proxy = through(tc.proxy)
			}
		})
		checkAdvice(t, sendFails(t, c, t.Context(), notification("w-1")), want)
	}
	checkAdvice(t, &Error{Kind: Temporary, Err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}}, "nothing answers there")
	checkAdvice(t, &Error{Kind: Temporary, Err: &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}}, "no way to the address")
	checkAdvice(t, &Error{Kind: Temporary, Err: &net.DNSError{IsTimeout: true}}, "it does not answer")
}

func checkAdvice(t *testing.T, e *Error, want string) {
	t.Helper()
	advice := e.Advice()
	if (advice == "") != (want == "") || !strings.Contains(advice, want) || strings.ContainsAny(advice, ".\n") || strings.Contains(advice, "secret words") {
		t.Errorf("%v: the advice is %q, want %q", e, advice, want)
	}
}
