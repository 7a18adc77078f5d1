package chatapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Kind says what sort of failure a call met, and so who can put it right.
type Kind string

const (
	// Temporary: the server or the way to it failed (5xx, 408, 425, connection
	// errors, timeouts, a reply of failure that names nobody, a 200 that is not the
	// API's reply at all). Later may work.
	Temporary Kind = "temporary"

	// Limited: too many calls (429, 402, or 503 with Retry-After). Slower will work.
	Limited Kind = "limited"

	// Credential: the client credential does not allow the call (401 with a token
	// fresh from the token endpoint, 403, or the token endpoint's 400, 401, 403).
	// Every call of this credential fails until an operator acts.
	Credential Kind = "credential"

	// Refused: the API does not take this call (413, or 400, 409, 422 with a body that
	// is not a page). Something in its message or recipients is the cause.
	Refused Kind = "refused"

	// Misconfigured: what answers is not the Chat API, or takes none of our calls (3xx,
	// the other 4xx, 1xx, statuses beyond 599). The address is wrong, or a proxy on the way.
	Misconfigured Kind = "misconfigured"

	// Unreadable: a 2xx whose body is a part of a reply, or a garbled one, so that it
	// is not known who was reached.
	Unreadable Kind = "unreadable"
)

// Error is the only type of error that [Client.Send] and [Client.CheckToken]
// return. It holds no secret, and is not changed once returned.
type Error struct {
	// Kind says what sort of failure it was.
	Kind Kind

	// Op says what was being done and where: a call, or getting a token.
	Op string

	// Status is the HTTP status of the reply that this error is about, the token
	// endpoint's for a token failure. Zero: no status arrived.
	Status int

	// RetryAfter is how long the server asked to wait, at most one hour. Zero: it
	// did not ask, or not in a way that can be read. Where there was no token to call
	// with, it is what is left of the time until the token endpoint is asked again.
	RetryAfter time.Duration

	// MayBeDelivered is true when the call may have been delivered all the same:
	// the request left in full and then the connection was lost, or the time was
	// up, or the server or a gateway failed over it (500, 502, 504 and the 5xx that
	// HTTP does not know), or the reply could not be read. False means that nothing
	// was delivered.
	MayBeDelivered bool

	// Unsent is true when no request of the call itself left: there was no token to
	// make it with, or it could not be written down.
	Unsent bool

	// Detail is what the server or the network said: at most 512 bytes, one line,
	// printable, with token, client secret and message text taken out. It is a
	// server's text and may name recipients.
	Detail string

	page    bool // whether the body is HTML or XML
	foreign bool // whether it is a 2xx that is not of the API

	// Err is the cause, where there is one: [errors.Is] sees context.Canceled and
	// context.DeadlineExceeded. Its own text is not cleaned of what a server sent:
	// print the Error, not the Err.
	Err error
}

// Error returns one line: what was being done, the kind, the status, the detail.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
	} else {
		b.WriteString("call the Chat API")
	}
	fmt.Fprintf(&b, ": %s", e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %v", e.RetryAfter)
	}
	if e.MayBeDelivered {
		b.WriteString(", may have been delivered")
	}
	switch {
	case e.Detail != "":
		b.WriteString(": " + e.Detail)
	case e.Err != nil:
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// MayConcernMessage reports whether the message or the recipients of the call may
// be the cause, rather than the credential, the address or the state of the API: a
// refusal, and what a gateway says that looks into calls, be it with a status or with
// a page in place of the reply. While calls with other messages succeed, halving such
// a call may tell who causes it.
func (e *Error) MayConcernMessage() bool {
	switch {
	case e.Unsent:
		return false
	case e.Status >= 200 && e.Status <= 299:
		return e.Kind == Temporary && !e.MayBeDelivered
	}
	return e.Kind == Refused || mayConcernMessage(e.Status)
}

// TimedOut reports whether the API, or a gateway before it, took longer for the
// call than was waited: fewer recipients may take less.
func (e *Error) TimedOut() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusGatewayTimeout, 524: // Cloudflare's word for 504
		return !e.Unsent
	}
	// Before the call has left in full, its recipients have not taken any time.
	return !e.Unsent && e.MayBeDelivered && errors.Is(e.Err, context.DeadlineExceeded)
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// asError keeps a nil *Error from becoming an error that is not nil.
func asError(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}
