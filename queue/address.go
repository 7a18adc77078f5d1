package queue

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// address is one of the NATS addresses that a user gave.
type address struct {
	text string // with a scheme
	bare bool   // it was given without a scheme
	url  *url.URL
}

// parseAddresses reads one address, or several separated by commas. The error matches [ErrAddress]; it says
// which of them is wrong and why, and quotes nothing: what stands where a host should may be the end of
// a password.
func parseAddresses(list string) ([]address, error) {
	var all []address
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue // as the client of NATS does
		}
		bare := !strings.Contains(text, "://")
		if bare {
			text = "nats://" + text
		}
		all = append(all, address{text: text, bare: bare})
	}
	for i := range all {
		a := &all[i]
		var err error
		if a.url, err = url.Parse(a.text); err != nil {
			err = errors.New(addressFault(err))
		} else if where := a.surplus(); where != "" {
			err = fmt.Errorf("it has a %s, or a password that would have to be encoded", where)
		} else if i > 0 && a.bare && a.url.User != nil && a.login() != all[i-1].login() {
			err = errors.New("it has another kind of login than the one before, as if a comma stood in a password; if not, write nats:// before it")
		}
		if err != nil {
			which := ""
			if len(all) > 1 {
				which = fmt.Sprintf(", number %d of %d", i+1, len(all))
			}
			return nil, fmt.Errorf("%w%s: %w; in a user, password or token, write %% as %%25, / as %%2F, ? as %%3F, # as %%23, @ as %%40, : as %%3A, a comma as %%2C and a blank as %%20",
				ErrAddress, which, err)
		}
	}
	return all, nil
}

// login tells a user with a password, a token (or a user alone) and nothing from each other.
func (a *address) login() int {
	if a.url.User == nil {
		return 0
	}
	if _, ok := a.url.User.Password(); ok {
		return 1
	}
	return 2
}

// surplus names a part that no NATS address has. With one of / ? # in a password, a part of it is there,
// and the rest where the host should be. (An address of websockets may have a path.)
func (a *address) surplus() string {
	webSocket := a.url.Scheme == "ws" || a.url.Scheme == "wss"
	switch {
	case a.url.Path != "" && a.url.Path != "/" && (!webSocket || strings.Contains(a.url.Path, "@")):
		return "path"
	case a.url.RawQuery != "" || a.url.ForceQuery:
		return "query"
	case strings.Contains(a.text, "#"):
		return "fragment"
	}
	return ""
}

// addressFault says what is wrong in words of its own: those of net/url quote the address.
func addressFault(err error) string {
	text := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok {
		text = u.Err.Error()
	}
	for _, fault := range [][2]string{
		{"invalid URL escape", "a % is not followed by two hexadecimal digits"},
		{"invalid userinfo", "its user, password or token has a character that must be encoded"},
		{"invalid control character", "it has a control character"},
		{"invalid port", "what follows the host is no port"},
		{"invalid character", "its host has a character that no host has"},
		{"missing ']'", "a [ in its host is not closed"},
	} {
		if strings.Contains(text, fault[0]) {
			return fault[1]
		}
	}
	return "it is no URL such as nats://host"
}

// RedactURL is what may be shown of NATS addresses such as those in [Config]: scheme, host and port of each,
// without user, password and token. Nothing is shown of those that [Connect] refuses.
func RedactURL(list string) string {
	all, err := parseAddresses(list)
	if err != nil {
		return "(malformed address)"
	}
	shown := make([]string, len(all))
	for i, a := range all {
		shown[i] = a.url.Scheme + "://" + a.url.Host
	}
	return strings.Join(shown, ",")
}
