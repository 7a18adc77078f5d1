package chatapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// grant asks the token endpoint for tokens.
type grant struct {
	op     string
	http   *http.Client
	config clientcredentials.Config
}

// newGrant returns one whose requests base carries.
func newGrant(op string, base *http.Client, cfg Config) *grant {
	plain := *base
	plain.Transport = plainReplies{base.Transport}
	return &grant{op: op, http: &plain, config: clientCredentials(cfg)}
}

func clientCredentials(cfg Config) clientcredentials.Config {
	return clientcredentials.Config{
		ClientID:     cfg.ClientID,
		ClientSecret: cfg.ClientSecret,
		TokenURL:     cfg.TokenURL,
		// The API documents the credential as form fields. Leaving the
		// library to find out would first try Basic authentication.
		AuthStyle: oauth2.AuthStyleInParams,
	}
}

// fetch is a fetchFunc.
func (g *grant) fetch(ctx context.Context) (string, time.Duration, *Error) {
	began := time.Now()
	token, err := g.config.Token(context.WithValue(ctx, oauth2.HTTPClient, g.http))
	if err != nil {
		return "", 0, g.failed(ctx, err, time.Since(began))
	}
	if err := checkToken(token.AccessToken); err != nil {
		return "", 0, &Error{Kind: Temporary, Op: g.op, Status: http.StatusOK, Detail: err.Error()}
	}
	if token.Expiry.IsZero() {
		return token.AccessToken, 0, nil
	}
	// The endpoint names whole seconds; the library made a date of them.
	return token.AccessToken, time.Until(token.Expiry).Round(time.Second), nil
}

// failed classifies err. The library's own text holds the endpoint's body, which
// may echo the credential, so neither the text nor the error is passed on.
func (g *grant) failed(ctx context.Context, err error, took time.Duration) *Error {
	hide := private{}.hide(g.config.ClientSecret, "[secret]")
	var reply *oauth2.RetrieveError
	if !errors.As(err, &reply) {
		// No caller stands behind ctx: when it ends, the time was up.
		failure := interrupted(context.WithoutCancel(ctx), err, took.Round(time.Millisecond), hide)
		failure.Op = g.op
		return failure
	}
	wait, known := retryAfter(reply.Response.Header, time.Now())
	status := reply.Response.StatusCode
	detail := "without an error code"
	if to := redirect(reply.Response); to != "" {
		detail = "redirected to " + to
	} else if reply.ErrorCode != "" {
		detail = strings.TrimSuffix(reply.ErrorCode+": "+reply.ErrorDescription, ": ")
	}
	kind := classifyToken(status, known)
	if kind == Credential && reply.ErrorCode == "" && isPage(reply.Response.Header, reply.Body) {
		// A proxy's word: the token server was not asked, and the credential may be right.
		kind, detail = Temporary, "a web page instead of a token server's answer"
	}
	return &Error{Kind: kind, Op: g.op, Status: status, RetryAfter: wait,
		Detail: oneLine(withoutParts(hide.excerpt(detail, maxFailureBody), g.config.ClientSecret), maxDetail)}
}

// minSecretPart is how much of a secret, in bytes, is recognized within a text. Fewer may be there by chance.
const minSecretPart = 8

// withoutParts takes parts of the secret out of text: some servers show the beginning of what they
// refuse.
func withoutParts(text, secret string) string {
	hidden := make([]bool, len(text))
	for i := 0; i+minSecretPart <= len(secret); i++ {
		part := secret[i : i+minSecretPart]
		for at := 0; ; at++ {
			n := strings.Index(text[at:], part)
			if n < 0 {
				break
			}
			at += n
			for j := range part {
				hidden[at+j] = true
			}
		}
	}
	var b strings.Builder
	for i, h := range hidden {
		if !h {
			b.WriteByte(text[i])
		} else if i == 0 || !hidden[i-1] {
			b.WriteString("[secret]")
		}
	}
	return b.String()
}
