// Package chatapi makes one attempt at one call of the Chat API, and says what
// became of it.
//
//	Notification ─▶ token (cached, one refresh at a time) ─▶ POST ─▶ Report   who was not reached, and why
//	                                                              └▶ *Error   what kind of failure it was
//
// The invariant: a recipient counts as delivered only when a reply that can be
// read says so. After an [*Error] nobody is known to be delivered, and
// [Error.MayBeDelivered] says whether somebody might be.
//
// The package never waits, paces or repeats a failed call: that is the caller's
// business. The one exception is a 401, which is answered once by a fresh token;
// the API has then not looked at the call, so nothing is delivered twice.
package chatapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// DefaultURL is where calls go. The document names the
	// same path with a trailing slash too.
	DefaultURL = "https://mini-app-api.lab.woven-city.toyota/mini-app-runtime/v1/chat"

	// DefaultTokenURL is where access tokens come from.
	DefaultTokenURL = "https://id.woven-city.toyota/auth/realms/woven/protocol/openid-connect/token"

	// DefaultTimeout bounds one attempt when [Config.Timeout] is zero. The
	// document names no figure; ten seconds is far beyond a healthy reply and
	// short enough that a hanging server does not hold a call slot for long.
	DefaultTimeout = 10 * time.Second

	// DefaultConcurrency is the number of idle connections kept when
	// [Config.Concurrency] is zero.
	DefaultConcurrency = 64
)

// Config says which Chat API to call, and as whom.
type Config struct {
	// URL is the full address of the chat call, with or without a trailing
	// slash: it is used as given. Zero: [DefaultURL].
	URL string

	// TokenURL is the full address of the token endpoint. Zero: [DefaultTokenURL].
	TokenURL string

	// ClientID and ClientSecret are the server-side client credentials that were
	// handed out with the first MiniApp version. Both are
	// required. The secret goes to TokenURL and nowhere else: it is in no error.
	ClientID, ClientSecret string

	// Timeout bounds one attempt, from connecting to the last byte of the reply, also
	// when it is made again because the server did not look at it, and one token request
	// likewise. Zero: [DefaultTimeout]. The longest that [Client.Send] takes is two of
	// these and two seconds: it waits a second at most for a token, makes an attempt, and
	// after a 401 does both once more.
	Timeout time.Duration

	// MaxRetryAfter bounds the wait that the token endpoint may ask for before it is
	// asked again. Zero, or more than an hour: an hour.
	MaxRetryAfter time.Duration

	// Concurrency is how many idle connections are kept for the next calls. It
	// should be the number of calls that run at once; it limits nothing. Zero:
	// [DefaultConcurrency].
	Concurrency int
}

// Client calls the Chat API with one credential; [Client.With] makes one for
// another. It is safe for concurrent use.
type Client struct {
	cfg          Config // with the defaults filled in, and checked
	op           string
	conns        *connections  // of calls and token requests
	http         *http.Client  // for token requests
	blank        *http.Request // a call without its body and header
	timeout      time.Duration
	endPatience  time.Duration
	tokens       *tokenCache
	headers      *atomic.Pointer[tokenHeader] // of the last token
	allDelivered *atomic.Pointer[[]byte]      // the last reply by which everything was delivered
	secret       string
}

// New checks cfg and returns a client. It does not touch the network: see
// [Client.CheckToken] for that. The addresses must be https, or http on a
// loopback host, because the client secret and the token travel in the clear
// otherwise. Errors name the field, what
// is wrong with it and what to do; they never hold the secret.
func New(cfg Config) (*Client, error) {
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	if cfg.TokenURL == "" {
		cfg.TokenURL = DefaultTokenURL
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	chat, chatErr := checkURL("URL", cfg.URL)
	token, tokenErr := checkURL("TokenURL", cfg.TokenURL)
	if err := errors.Join(chatErr, tokenErr, checkProxies(), checkCredential(cfg), checkNumbers(cfg)); err != nil {
		return nil, fmt.Errorf("configure the Chat API client: %w", err)
	}
	conns := newConnections(cfg)
	c := &Client{
		op:           "call " + display(chat),
		conns:        conns,
		http:         newHTTPClient(conns),
		timeout:      cfg.Timeout,
		endPatience:  endPatience,
		allDelivered: new(atomic.Pointer[[]byte]),
		blank:        &http.Request{Method: http.MethodPost, URL: chat, Host: chat.Host},
	}
	c.identify(cfg, "get an access token from "+display(token))
	return c, nil
}

// With returns a client that calls the same API with another credential, and with
// a token of its own: what is wrong with one credential does not touch the other.
// The two share their connections. Errors are those of [New] about the credential.
func (c *Client) With(clientID, clientSecret string) (*Client, error) {
	cfg := c.cfg
	cfg.ClientID, cfg.ClientSecret = clientID, clientSecret
	if err := checkCredential(cfg); err != nil {
		return nil, fmt.Errorf("configure the Chat API client: %w", err)
	}
	other := *c
	other.identify(cfg, c.tokens.op)
	return &other, nil
}

// identify gives c the credential in cfg, and a token cache without a token.
func (c *Client) identify(cfg Config, op string) {
	g := newGrant(op, c.http, cfg)
	c.cfg, c.secret, c.headers = cfg, cfg.ClientSecret, new(atomic.Pointer[tokenHeader])
	c.tokens = &tokenCache{op: op, timeout: cfg.Timeout, patience: tokenPatience, longest: cmp.Or(cfg.MaxRetryAfter, maxRetryAfter), fetch: g.fetch}
}

// Endpoint returns the address that calls go to, for logs: without a query, which may
// hold a key.
func (c *Client) Endpoint() string { return display(c.blank.URL) }

// CheckToken returns nil when there is an access token to call with: the cached
// one, or else one that it gets now. Its errors are those of [Client.Send]; they
// are about the token endpoint and the credential only, since no call is made.
func (c *Client) CheckToken(ctx context.Context) error {
	return asError(c.tokens.check(ctx))
}

// newHTTPClient returns the client that carries token requests.
func newHTTPClient(conns *connections) *http.Client {
	return &http.Client{
		// A redirected request would carry the secret to a host that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     conns,
	}
}

func checkURL(field, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser quotes parts of the address, which may be a password.
		return nil, fmt.Errorf("%s is not an address that can be parsed: give it in full, such as %s", field, DefaultURL)
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("%s holds a user name or password before the host: take it out, the credential belongs in ClientID and ClientSecret", field)
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, fmt.Errorf("%s %q is not a full http address: give it as https://host/path", field, display(u))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("%s %q would carry secrets unencrypted: use https (http is allowed for loopback hosts only)", field, display(u))
	}
	return u, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func checkCredential(cfg Config) error {
	switch {
	case cfg.ClientID == "":
		return errors.New("ClientID is empty: give the client id of the MiniApp's server-side client")
	case cfg.ClientSecret == "":
		return errors.New("ClientSecret is empty: give the secret received with the first MiniApp version")
	case strings.TrimSpace(cfg.ClientSecret) != cfg.ClientSecret:
		return errors.New("ClientSecret begins or ends with white space: remove it (often the newline at the end of a secret file)")
	}
	return nil
}

func checkNumbers(cfg Config) error {
	if cfg.Timeout < 0 || cfg.Concurrency < 0 {
		return fmt.Errorf("the Timeout %v and the Concurrency %d must not be negative: leave them zero for the defaults", cfg.Timeout, cfg.Concurrency)
	}
	return nil
}

// display leaves out what an address may hide in its query or user name. Of an
// address with a slip, such as a colon too few, these may have become the path.
func display(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if strings.Contains(u.Path, "@") {
		shown.Path = "/..."
	}
	return shown.String()
}
