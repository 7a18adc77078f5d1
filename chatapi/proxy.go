package chatapi

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// checkProxies looks at the proxies that the environment names. net/http goes on without one whose
// address it cannot parse, straight to the API or to nowhere. The errors hold no part of an address,
// which may be a password.
func checkProxies() error {
	var errs []error
	for _, names := range [][2]string{{"HTTPS_PROXY", "https_proxy"}, {"HTTP_PROXY", "http_proxy"}} {
		name := names[0]
		if os.Getenv(name) == "" { // as net/http looks for them
			name = names[1]
		}
		if wrong := proxyFault(os.Getenv(name)); wrong != "" {
			errs = append(errs, fmt.Errorf("%s in the environment is not the address of a proxy: %s; give it as http://host:port, "+
				"with special characters of a user name or password percent-encoded, or unset it", name, wrong))
		}
	}
	return errors.Join(errs...)
}

// proxyFault says what is wrong with the address of a proxy. Empty: nothing.
func proxyFault(raw string) string {
	if raw == "" {
		return ""
	}
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw // net/http does so too
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "it cannot be parsed"
	}
	port, convErr := strconv.Atoi(u.Port())
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" && u.Scheme != "socks5h":
		return "its scheme is none of http, https, socks5 and socks5h"
	case u.Hostname() == "" || strings.ContainsAny(u.Hostname(), " \t"):
		return "it names no host"
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && (convErr != nil || port < 1 || port > 65535):
		return "its port is not a number from 1 to 65535"
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "something stands after its host and port"
	}
	return ""
}
