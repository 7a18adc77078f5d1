package chatapi

import (
	"strings"
	"testing"
	"time"
)

func TestNewChecksItsConfig(t *testing.T) {
	good := Config{ClientID: "id", ClientSecret: "hush-hush"}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string // "" for none
	}{
		"defaults":         {func(c *Config) {}, ""},
		"trailing slash":   {func(c *Config) { c.URL = DefaultURL + "/" }, ""},
		"localhost":        {func(c *Config) { c.URL = "http://localhost:8080/chat" }, ""},
		"loopback 4":       {func(c *Config) { c.URL = "http://127.9.8.7:1/chat" }, ""},
		"loopback 6":       {func(c *Config) { c.TokenURL = "http://[::1]:1/token" }, ""},
		"plain http":       {func(c *Config) { c.URL = "http://example.com/chat" }, "URL \"http://example.com/chat\" would carry secrets unencrypted: use https"},
		"plain token":      {func(c *Config) { c.TokenURL = "http://10.0.0.1/t" }, "TokenURL \"http://10.0.0.1/t\" would carry"},
		"not loopback":     {func(c *Config) { c.URL = "http://localhost.example.com/" }, "unencrypted"},
		"other scheme":     {func(c *Config) { c.URL = "ftp://localhost/" }, "not a full http address"},
		"no host":          {func(c *Config) { c.URL = "https:///chat" }, "not a full http address"},
		"relative":         {func(c *Config) { c.URL = "/chat" }, "not a full http address"},
		"unparseable":      {func(c *Config) { c.URL = "https://id:hush-hush@h:port" }, "URL is not an address"},
		"user":             {func(c *Config) { c.TokenURL = "https://id:hush-hush@h/" }, "TokenURL holds a user name or password"},
		"no id":            {func(c *Config) { c.ClientID = "" }, "ClientID is empty"},
		"no secret":        {func(c *Config) { c.ClientSecret = "" }, "ClientSecret is empty"},
		"newline":          {func(c *Config) { c.ClientSecret = "hush-hush\n" }, "white space"},
		"negative timeout": {func(c *Config) { c.Timeout = -time.Second }, "must not be negative"},
		"negative pool":    {func(c *Config) { c.Concurrency = -1 }, "must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tc.change(&cfg)
			c, err := New(cfg)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if want := cfg.URL; want != "" && c.Endpoint() != want || c.Endpoint() == "" {
					t.Errorf("Endpoint = %q, want %q", c.Endpoint(), want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("New = %v, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "hush-hush") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}
