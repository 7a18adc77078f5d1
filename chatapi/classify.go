package chatapi

import "net/http"

// classify gives the kind of failure that a status of the Chat API means. It
// returns "" for 2xx, where the body decides. The document describes the 200
// only; the rest follows what the statuses mean in RFC 9110, and who can have said
// them: a page is the word of a proxy or a load balancer, which was not asked
// about message and recipients.
func classify(status int, hasRetryAfter, page bool) Kind {
	switch status {
	case http.StatusTooManyRequests, http.StatusPaymentRequired: // 402 is how some say that a quota is used up
		return Limited
	case http.StatusServiceUnavailable:
		if hasRetryAfter {
			return Limited
		}
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return Temporary
	case http.StatusUnauthorized, http.StatusForbidden:
		return Credential
	case http.StatusRequestEntityTooLarge: // about the call's size, whoever says it
		return Refused
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
		if !page {
			return Refused
		}
	}
	switch {
	case status >= 200 && status <= 299:
		return ""
	case status >= 500 && status <= 599:
		return Temporary
	}
	// 1xx, 3xx, the other 4xx, and what HTTP does not know: they are about the address, the protocol,
	// the headers or a proxy on the way, which are the same for all calls.
	return Misconfigured
}

// classifyToken gives the kind of failure that a status of the token endpoint
// means. A recipient cannot be the cause, so nothing here is Refused.
func classifyToken(status int, hasRetryAfter bool) Kind {
	switch kind := classify(status, hasRetryAfter, false); {
	case kind == "":
		return Temporary // a 2xx without a token
	case status == http.StatusBadRequest:
		return Credential // RFC 6749 section 5.2 answers bad credentials so
	case kind == Refused:
		return Misconfigured
	default:
		return kind
	}
}

// mayBeDelivered reports whether a call that was answered with this status may have
// been carried out all the same: the server failed somewhere on its way, or a
// gateway does not know what the server did.
func mayBeDelivered(status int) bool {
	switch status {
	case http.StatusNotImplemented, http.StatusServiceUnavailable, http.StatusHTTPVersionNotSupported,
		http.StatusNetworkAuthenticationRequired, // RFC 6585 section 6: a portal on the way
		521, 522, 523, 525, 526:                  // Cloudflare's: no connection to the server came about
		return false
	}
	return status >= 500 && status <= 599
}

// mayConcernMessage reports whether a status may be an answer to this message or
// these recipients, of the API or of a gateway that looks into calls.
func mayConcernMessage(status int) bool {
	switch status {
	case http.StatusInternalServerError:
		return true
	case http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect: // to a page that says what was blocked
		return true
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusProxyAuthRequired, http.StatusRequestTimeout,
		http.StatusLengthRequired, http.StatusPreconditionFailed, http.StatusExpectationFailed, http.StatusMisdirectedRequest,
		http.StatusTooEarly, http.StatusUpgradeRequired, http.StatusPreconditionRequired, http.StatusTooManyRequests,
		http.StatusRequestHeaderFieldsTooLarge:
		return false
	}
	return status >= 400 && status <= 499
}
