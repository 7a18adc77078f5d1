package chatapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
		detail = fmt.Sprintf("%s: %s", reply.ErrorCode, reply.ErrorDescription)
	}
	return &Error{Kind: classifyToken(status, known), Op: g.op, Status: status, RetryAfter: wait,
		Detail: hide.excerpt(detail, maxDetail)}
}
