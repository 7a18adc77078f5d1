package chatapi

import (
	"strings"
	"testing"
)

func TestProxyFault(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "proxy": "", "proxy:3128": "", "http://proxy:3128": "", "http://proxy:3128/": "", "https://u:p@proxy": "", "socks5://[::1]:1080": "",
		"socks5h://proxy:1080": "", "u:p@proxy:3128": "", "http://u:p%40ss@10.0.0.1:8080": "",
		"://x": "cannot be parsed", "http://proxy:port": "cannot be parsed", "proxy:abc": "cannot be parsed", "http://u:hush@x:y": "cannot be parsed",
		"http://u:hu%sh@proxy": "cannot be parsed", "http://u:hu#sh@proxy:3128": "cannot be parsed", "http://u:12#sh@proxy:3128": "stands after",
		"http://u:12/sh@proxy": "stands after", "ftp://proxy:21": "scheme", "tcp://proxy:3128": "scheme", "http://": "no host", "http://:3128": "no host",
		"http://http://proxy:3128": "port", "http://proxy:": "port", "http://proxy:0": "port", "http://proxy:99999": "port", "http://pro xy:1": "cannot be parsed",
		"http:proxy:3128": "cannot be parsed", "http:/proxy:3128": "port", "http://proxy:3128?x=1": "stands after", " http://proxy:3128": "cannot be parsed",
	} {
		if got := proxyFault(raw); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// The error names the variable that counts, and holds nothing of the address.
func TestMalformedProxyIsRefused(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		t.Run(name, func(t *testing.T) {
			for _, other := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
				t.Setenv(other, "")
			}
			t.Setenv(name, "http://alice:hush/hush@proxy:3128")
			_, err := New(Config{ClientID: "id", ClientSecret: "s"})
			if err == nil || !strings.Contains(err.Error(), name+" in the environment is not the address of a proxy") || strings.Contains(err.Error(), "hush") {
				t.Errorf("New = %v", err)
			}
		})
	}
}

func TestEndpointShowsNoSecret(t *testing.T) {
	c, err := New(Config{URL: "https://h/p?token=hush#hush", ClientID: "id", ClientSecret: "s"})
	if err != nil || c.Endpoint() != "https://h/p" || c.blank.URL.RawQuery != "token=hush" {
		t.Errorf("%q, %v", c.Endpoint(), err)
	}
	for _, url := range []string{"https//alice:hush@h/p", "https:/alice:hush@h/p", "http://alice:12/hush@h/p", "alice:hush@h/p", "//alice:hush@h/p", "h/p?token=hush",
		"https://alice:hush@h/p", "https://alice:hu%sh@h/p", "http://h/p?token=hush"} {
		if _, err := New(Config{URL: url, TokenURL: url, ClientID: "id", ClientSecret: "s"}); err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "hu%sh") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
