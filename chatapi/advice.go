package chatapi

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Other is what [KindOf] returns for an error that is not an [*Error].
const Other Kind = "other"

// KindOf returns the kind of the [*Error] in err, or [Other] without one.
func KindOf(err error) Kind {
	if api, ok := errors.AsType[*Error](err); ok {
		return api.Kind
	}
	return Other
}

// ConcernsAllWorkers reports whether a failure of this kind, met by one worker,
// awaits the others as well: the API limits the project, or does not accept its
// credential. An outage each worker finds out by itself, with few calls.
func (k Kind) ConcernsAllWorkers() bool { return k == Limited || k == Credential }

// Advice says what an operator should do about a failure of this kind that does
// not go away. Empty: wait.
func (k Kind) Advice() string {
	switch k {
	case Credential:
		return "check the project's client id and secret"
	case Misconfigured:
		return "check the addresses of the Chat API and its token endpoint"
	}
	return ""
}

// Advice says what an operator should do about this failure if it does not go away, as
// exactly as it tells: one clause, without what a server said. Empty: wait.
func (e *Error) Advice() string {
	switch {
	case e.Status == 0:
		return e.Kind.adviceOr(connectionAdvice(e.Err))
	case e.Unsent:
		return tokenAdvice(e)
	case e.page && (e.Kind == Misconfigured || e.foreign):
		return "find out which proxy or load balancer answers with a page instead of the Chat API"
	case e.foreign:
		return "find out what answers instead of the Chat API"
	}
	return e.Kind.adviceOr(statusAdvice[e.Status])
}

// adviceOr returns the advice for the kind where there is none that is more exact.
func (k Kind) adviceOr(exact string) string { return cmp.Or(exact, k.Advice()) }

// statusAdvice is for calls that were answered by these statuses.
var statusAdvice = map[int]string{
	http.StatusPaymentRequired:               "have the project's quota raised or renewed",
	http.StatusForbidden:                     "check whether the client may call for this project, and what a gateway before the API may object to",
	http.StatusProxyAuthRequired:             "give the proxy's user name and password in HTTPS_PROXY",
	http.StatusGone:                          "ask whether this version of the Chat API is retired, and correct its address",
	http.StatusRequestTimeout:                "check the connection to the API, or send to fewer recipients per call",
	http.StatusRequestEntityTooLarge:         "send to fewer recipients per call",
	http.StatusMisdirectedRequest:            "check the address of the Chat API, and which server its host name leads to",
	http.StatusUpgradeRequired:               "check the address of the Chat API: its server wants another protocol, often https",
	http.StatusRequestHeaderFieldsTooLarge:   "have the token made smaller, or the server's limit for headers raised",
	http.StatusUnavailableForLegalReasons:    "ask the API's owner or the gateway's what it blocks",
	http.StatusBadGateway:                    "wait, or ask the API's owner: a gateway does not reach it",
	http.StatusGatewayTimeout:                "send to fewer recipients per call if only large calls fail",
	http.StatusNetworkAuthenticationRequired: "sign in to the network: it demands that before it lets anything pass",
	495:                                      "check the certificates between the gateway and its clients", 496: "check the certificates between the gateway and its clients",
	520: "wait, or ask the API's owner: Cloudflare gets no answer from it", 521: "wait, or ask the API's owner: Cloudflare gets no answer from it",
	525: "ask the API's owner to check its certificate", 526: "ask the API's owner to check its certificate",
}

// tokenAdvice is for a status of the token endpoint.
func tokenAdvice(e *Error) string {
	switch e.Status {
	case http.StatusProxyAuthRequired:
		return statusAdvice[e.Status]
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return "check the address of the token endpoint"
	}
	if e.Kind == Misconfigured {
		return "check the address of the token endpoint, and what answers there"
	}
	return e.Kind.Advice()
}

// connectionAdvice is for what the network said where no status arrived. Empty: nothing more exact
// than to wait.
func connectionAdvice(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "give the CA certificates in SSL_CERT_FILE, or renew those of the image: the server's certificate is signed by none of them"
	case errors.As(err, new(x509.HostnameError)):
		return "check the address: the server's certificate is for another host name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "have the server's certificate renewed, and check this machine's clock"
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, &invalid):
		return "check the server's certificate"
	case errors.As(err, new(tls.RecordHeaderError)):
		return "check the address: its server does not speak https at this port"
	case strings.Contains(err.Error(), http.StatusText(http.StatusProxyAuthRequired)):
		return statusAdvice[http.StatusProxyAuthRequired]
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "check HTTPS_PROXY and whether its proxy can be reached"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "check the host name in the address, and this machine's DNS"
	case errors.As(err, &dns):
		return "check this machine's DNS: it does not answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "check the address and its port: nothing accepts connections there"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "check the network and its routes: there is no way to the address"
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		return "check the address and the firewalls on the way: nothing answers there"
	}
	return ""
}

// LogText is the text of err for logs. Of an [*Error] with the status of a call it
// leaves out what the server said, which may name recipients. It keeps what the
// network said, where no status arrived, and what the token endpoint said, which
// knows no recipients. The text of any other error is returned as it is.
func LogText(err error) string {
	api, ok := errors.AsType[*Error](err)
	if !ok || api.Status == 0 || api.Unsent {
		return err.Error()
	}
	text := fmt.Sprintf("%s: %s, status %d", api.Op, api.Kind, api.Status)
	switch {
	case api.page:
		text += ", answered with a page"
	case api.foreign:
		text += ", not an answer of the Chat API"
	}
	if api.MayBeDelivered {
		text += ", may have been delivered"
	}
	return text
}
