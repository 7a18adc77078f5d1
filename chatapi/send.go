package chatapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

const (
	// minReplyLimit and replyPerRecipient bound the body of a reply, in bytes: a
	// recipient costs its id and its share of a reason, and 256 is ample for that.
	minReplyLimit     = 1 << 20
	replyPerRecipient = 256

	// maxFailureBody bounds, in bytes, what is read of a failure's body. It is
	// read for its excerpt, and so that the connection can be used again.
	maxFailureBody = 64 << 10
)

// Send makes one attempt to deliver n. After a nil error every recipient is
// delivered except those in [Report.Failures]. Any error is an [*Error] and means
// that nobody is known to be delivered; when ctx ends first it is [Temporary] and
// wraps ctx.Err(). A 401 is answered by one fresh token and one more attempt.
func (c *Client) Send(ctx context.Context, n Notification) (Report, error) {
	body, err := n.encode()
	if err != nil {
		// Only text that is not UTF-8 can do this, and no later attempt mends it.
		return Report{}, &Error{Kind: Refused, Op: c.op, Unsent: true, Detail: oneLine("encode the call: "+err.Error(), maxDetail), Err: err}
	}
	token, failure := c.tokens.get(ctx, "")
	if failure != nil {
		return Report{}, failure
	}
	report, failure := c.deliver(ctx, n, body, token)
	if failure != nil && failure.Status == http.StatusUnauthorized {
		if token, failure = c.tokens.get(ctx, token); failure != nil {
			return Report{}, failure
		}
		report, failure = c.deliver(ctx, n, body, token)
	}
	return report, asError(failure)
}

// mostRepeats is how often a call is made again that the server did not look at.
const mostRepeats = 3

// deliver makes one attempt, and makes it again when the server certainly did not look
// at it: the connection was about to be closed. That is nobody's failure. All of it has
// the time of one attempt.
func (c *Client) deliver(caller context.Context, n Notification, body []byte, token string) (Report, *Error) {
	ctx, cancel := context.WithTimeout(caller, c.timeout)
	defer cancel()
	for repeat := 0; ; repeat++ {
		conns := c.conns.take()
		report, failure := c.attempt(ctx, caller, conns, n, body, token)
		if failure == nil || !errors.Is(failure.Err, errUnprocessed) || repeat == mostRepeats || ctx.Err() != nil {
			c.conns.learn(conns, c.blank.Host, judge(failure))
			return report, failure
		}
		if repeat > 0 {
			c.conns.replace(conns) // it still takes calls, and refuses them
		}
	}
}

// attempt makes one POST with token and reads what comes back. The error of a call that
// the server did not look at wraps errUnprocessed. The caller's context is the one behind ctx.
func (c *Client) attempt(ctx, caller context.Context, conns *generation, n Notification, body []byte, token string) (Report, *Error) {
	out := &outgoing{body: body}
	req := out.request(ctx, c.blank)
	req.Header = c.header(token)
	// The transport itself, because nothing of what http.Client adds is wanted: cookies, and
	// redirects. A redirected POST either becomes a GET or repeats the message and the bearer
	// token towards a host that nobody configured.
	resp, err := conns.transport.RoundTrip(req)
	if err != nil {
		failure := interrupted(caller, err, c.timeout, c.private(n, token))
		failure.Op, failure.MayBeDelivered = c.op, out.mayHaveArrived(err)
		if out.unprocessed(err) && caller.Err() == nil {
			failure.Err = errUnprocessed
		}
		return Report{}, failure
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return c.read(caller, resp, n, token)
	}
	return Report{}, c.failed(resp, n, token)
}

// header is that of all calls with a token. It is made once for each token, and read only.
func (c *Client) header(token string) http.Header {
	if h := c.headers.Load(); h != nil && h.token == token {
		return h.header
	}
	h := &tokenHeader{token, http.Header{
		"Content-Type":  {"application/json"},
		"Authorization": {"Bearer " + token},
		"User-Agent":    {"chatrelay"}, // lets the API's operators know who calls
		// Replies are a few dozen bytes, unless hundreds of recipients are rejected.
		"Accept-Encoding": {"identity"},
	}}
	c.headers.Store(h)
	return h.header
}

// tokenHeader is the header of calls with one token.
type tokenHeader struct {
	token  string
	header http.Header
}

// failed turns a status other than 2xx into an error.
func (c *Client) failed(resp *http.Response, n Notification, token string) *Error {
	wait, known := askedWait(resp, time.Now())
	failure := &Error{
		Kind: classify(resp.StatusCode, known, false), Op: c.op, Status: resp.StatusCode, RetryAfter: wait,
		MayBeDelivered: mayBeDelivered(resp.StatusCode),
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return failure // its body is a connection that never ends
	}
	defer endSoon(resp, c.endPatience)()
	hide := c.private(n, token)
	if to := redirect(resp); to != "" {
		failure.Detail = hide.excerpt("redirected to "+to, maxDetail)
		_, _ = readBody(resp, maxFailureBody, c.endPatience)
		return failure
	}
	text, _ := readBody(resp, maxFailureBody, c.endPatience) // a body that breaks off changes nothing
	text = decoded(resp.Header, text, maxFailureBody)
	failure.page = isPage(resp.Header, text)
	failure.Kind = classify(resp.StatusCode, known, failure.page)
	failure.Detail = hide.excerpt(string(text), maxDetail)
	return failure
}

// read turns a 2xx into a report, or says why it cannot.
func (c *Client) read(caller context.Context, resp *http.Response, n Notification, token string) (Report, *Error) {
	limit := max(minReplyLimit, replyPerRecipient*len(n.WovenIDs))
	text, broke := readBody(resp, limit, c.endPatience)
	text = decoded(resp.Header, text, limit)
	if len(text) == 0 && broke == nil && accepted(resp.StatusCode) {
		return Report{Status: resp.StatusCode, Doubt: "the reply is empty: the status says that the call was accepted, and not who was reached"}, nil
	}
	reply, err := c.decode(text)
	if err != nil {
		return Report{}, c.misread(caller, resp, n, token, text, broke, err)
	}
	// A reply that can be read is one, whether its end came or not.
	report := reply.report(n.WovenIDs)
	report.Status = resp.StatusCode
	if !reply.success && len(report.Failures) == 0 {
		return Report{}, &Error{Kind: Temporary, Op: c.op, Status: resp.StatusCode,
			Detail: c.private(n, token).excerpt("success false, nobody named: "+reply.info, maxDetail)}
	}
	if len(report.Failures)+len(report.Unknown) > 0 {
		report.clean(c.private(n, token))
	}
	return report, nil
}

// accepted reports whether a status by itself says that the server took the call.
func accepted(status int) bool {
	return status == http.StatusCreated || status == http.StatusAccepted || status == http.StatusNoContent
}

// misread says what a 2xx is whose text is not a reply because of err, and which broke
// off if broke is not nil.
func (c *Client) misread(caller context.Context, resp *http.Response, n Notification, token string, text []byte, broke, err error) *Error {
	hide := c.private(n, token)
	failure := &Error{Kind: Unreadable, Op: c.op, Status: resp.StatusCode, MayBeDelivered: true, Err: cmp.Or(broke, err)}
	failure.page = isPage(resp.Header, text)
	reason, _ := errors.AsType[*notReply](err)
	switch {
	case failure.page, reason.foreign && !accepted(resp.StatusCode):
		// The word of a proxy, a portal or a maintenance mode: the API was not asked.
		failure.Kind, failure.MayBeDelivered, failure.foreign = Temporary, false, true
		failure.RetryAfter, _ = readRetryAfter(resp.Header, serverTime(resp.Header, time.Now()))
		failure.Detail = hide.excerpt(fmt.Sprintf("what answers is not the Chat API; the body: %s", text), maxDetail)
	case broke != nil && caller.Err() != nil:
		failure = interrupted(caller, broke, c.timeout, hide)
		failure.Op, failure.Status, failure.MayBeDelivered = c.op, resp.StatusCode, true
	case broke != nil:
		failure.Detail = hide.excerpt(fmt.Sprintf("the reply broke off after %d bytes: %v", len(text), broke), maxDetail)
	default:
		failure.Detail = hide.excerpt(fmt.Sprintf("%v; the body: %s", err, text), maxDetail)
	}
	return failure
}

// decode is decodeReply, and remembers the last reply by which everything was delivered: most are like it.
func (c *Client) decode(text []byte) (reply, error) {
	if last := c.allDelivered.Load(); last != nil && bytes.Equal(*last, text) {
		return reply{success: true}, nil
	}
	r, err := decodeReply(text)
	if err == nil && r.success && len(r.errors) == 0 && r.doubt == "" {
		c.allDelivered.Store(&text)
	}
	return r, err
}

// private lists what no excerpt of this call may show.
func (c *Client) private(n Notification, token string) private {
	return private{}.hide(token, "[token]").hide(c.secret, "[secret]").hideMessage(n.Message)
}

// interrupted turns an error of the transport into an Error. The caller's own
// context is looked at first: the transport reports its end in several ways.
func interrupted(caller context.Context, err error, timeout time.Duration, hide private) *Error {
	if cause := caller.Err(); cause != nil {
		return &Error{Kind: Temporary, Detail: "given up by the caller: " + cause.Error(), Err: cause}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Kind: Temporary, Detail: fmt.Sprintf("no reply within %v", timeout), Err: err}
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(record.RecordHeader[:]) == "HTTP/" {
		return &Error{Kind: Temporary, Detail: "the server speaks HTTP, not HTTPS, at this port", Err: err}
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		err = request.Err // Op names the address already, without its query
	}
	return &Error{Kind: Temporary, Detail: hide.excerpt(err.Error(), maxDetail), Err: err}
}

// redirect returns where a 3xx points, without user name or query, or "".
func redirect(resp *http.Response) string {
	if resp.StatusCode < 300 || resp.StatusCode > 399 {
		return ""
	}
	to, err := resp.Location()
	if err != nil {
		return ""
	}
	return display(to)
}
