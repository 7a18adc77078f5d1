package chatapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// tokensFrom returns a client whose token requests go to handler.
func tokensFrom(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return newClient(t, server.URL+"/chat", server.URL+"/token", 10*time.Second)
}

func TestTokenReplies(t *testing.T) {
	const asJSON = "application/json"
	lasting := func(expires string) string {
		return `{"access_token":"tok","token_type":"Bearer","expires_in":` + expires + `}`
	}
	const until401 = 0
	for name, tc := range map[string]struct {
		kind, body string
		lifetime   time.Duration
		token      string // "": tok
	}{
		"plain":          {asJSON, lasting("300"), 300 * time.Second, ""},
		"float":          {asJSON, lasting("300.0"), 300 * time.Second, ""},
		"text":           {asJSON, lasting(`"300"`), 300 * time.Second, ""},
		"text of float":  {asJSON, lasting(`" 300.0 "`), 300 * time.Second, ""},
		"exponent":       {asJSON, lasting("3.6e3"), time.Hour, ""},
		"fraction":       {asJSON, lasting("299.9"), 299 * time.Second, ""},
		"less than one":  {asJSON, lasting("0.5"), time.Second, ""},
		"huge":           {asJSON, lasting("1e300"), (1<<31 - 1) * time.Second, ""},
		"beyond numbers": {asJSON, lasting("1e999"), (1<<31 - 1) * time.Second, ""},
		"many digits":    {asJSON, lasting(strings.Repeat("9", 40)), (1<<31 - 1) * time.Second, ""},
		"negative":       {asJSON, lasting("-1"), until401, ""},
		"zero":           {asJSON, lasting("0"), until401, ""},
		"null":           {asJSON, lasting("null"), until401, ""},
		"absent":         {asJSON, `{"access_token":"tok","token_type":"bearer"}`, until401, ""},
		"no number":      {asJSON, lasting(`"soon"`), until401, ""},
		"not a number":   {asJSON, lasting(`"NaN"`), until401, ""},
		"an object":      {asJSON, lasting(`{"seconds":300}`), until401, ""},
		"text/plain":     {"text/plain; charset=utf-8", lasting("300"), 300 * time.Second, ""},
		"text/html":      {"text/html", lasting("300"), 300 * time.Second, ""},
		"no type":        {"", lasting("300"), 300 * time.Second, ""},
		"form type":      {"application/x-www-form-urlencoded", lasting("300"), 300 * time.Second, ""},
		"form":           {"application/x-www-form-urlencoded", "access_token=tok&expires_in=300.0&token_type=Bearer", 300 * time.Second, ""},
		"form as JSON":   {asJSON, "access_token=tok&expires_in=-1", until401, ""},
		"BOM":            {asJSON, "\ufeff" + lasting("300"), 300 * time.Second, ""},
		"blanks around":  {asJSON, "\r\n " + lasting("300") + "\n\n", 300 * time.Second, ""},
		"text behind":    {asJSON, lasting("300") + "<!-- served by b -->", 300 * time.Second, ""},
		"gzip":           {asJSON, gzipped(lasting("300")), 300 * time.Second, ""},
		"gzip, cut":      {asJSON, gzipped(lasting("300"))[:len(gzipped(lasting("300")))-4], 300 * time.Second, ""},
		"UTF-16":         {asJSON, utf16LE(lasting("300")), 300 * time.Second, ""},
		"not UTF-8":      {asJSON, strings.Replace(lasting("300"), "Bearer", "\xff", 1), 300 * time.Second, ""},
		"no error":       {asJSON, strings.Replace(lasting("300"), "}", `,"error":null,"error_description":""}`, 1), 300 * time.Second, ""},
		"numeric scope":  {asJSON, strings.Replace(lasting("300"), "}", `,"scope":7,"token_type":null}`, 1), 300 * time.Second, ""},
		"line break":     {asJSON, strings.Replace(lasting("300"), `"tok"`, `"\ntok\r\n"`, 1), 300 * time.Second, ""},
		"odd characters": {asJSON, strings.Replace(lasting("300"), `"tok"`, `"a-._~+/,:!="`, 1), 300 * time.Second, "a-._~+/,:!="},
	} {
		t.Run(name, func(t *testing.T) {
			c := tokensFrom(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{tc.kind}
				fmt.Fprint(w, tc.body)
			})
			g := newGrant("op", c.http, c.cfg)
			token, lifetime, failure := g.fetch(t.Context())
			if tc.token == "" {
				tc.token = "tok"
			}
			if failure != nil || token != tc.token || lifetime != tc.lifetime {
				t.Errorf("%q for %v, %v; want it for %v", token, lifetime, failure, tc.lifetime)
			}
		})
	}
}

// A reply that is complete in itself is taken, although the connection broke off behind it.
func TestTokenReplyWithoutItsEnd(t *testing.T) {
	for body, want := range map[string]string{
		`{"access_token":"tok","expires_in":300}`: "",
		`{"access_token":"tok","expires_i`:        "EOF",
	} {
		c := tokensFrom(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, body)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		switch err := c.CheckToken(t.Context()); {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

// A token that no header can carry is not kept: the next one is asked for after the pause.
func TestTokenThatCannotBeSent(t *testing.T) {
	for name, tc := range map[string]struct{ token, want string }{
		"line break": {`zzz-a\nzzz-b`, "0x0a at position 6 of 11"},
		"blank":      {`zzz a`, "0x20 at position 4 of 5"},
		"NUL":        {`zzz\u0000`, "0x00 at position 4 of 4"},
		"control":    {`zzz\u001b[1m`, "0x1b at position 4"},
		"not ASCII":  {`zöz`, "0xc3 at position 2"},
		"DEL":        {`zzz\u007f`, "0x7f at position 4"},
		"empty":      {``, "missing access_token"},
		"blanks":     {` \n`, "missing access_token"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			c := tokensFrom(t, func(w http.ResponseWriter, _ *http.Request) {
				asked++
				fmt.Fprintf(w, `{"access_token":"%s","token_type":"Bearer"}`, tc.token)
			})
			for range 3 {
				failure := sendFails(t, c, t.Context(), notification("w-1"))
				if failure.Kind != Temporary || !failure.Unsent || failure.RetryAfter == 0 || !strings.Contains(failure.Detail, tc.want) || strings.Contains(failure.Detail, "zz") {
					t.Errorf("%+v, want %q", failure, tc.want)
				}
			}
			if asked != 1 {
				t.Errorf("%d requests, want one before the pause", asked)
			}
		})
	}
}

func TestTokenServersWord(t *testing.T) {
	long := strings.Repeat("x", 600)
	for name, tc := range map[string]struct{ kind, body, want string }{
		"Keycloak":           {"application/json", `{"error":"unauthorized_client","error_description":"Invalid client or Invalid client credentials"}`, "unauthorized_client: Invalid client or Invalid client credentials"},
		"as text":            {"text/plain", `{"error":"slow_down"}`, "slow_down"},
		"form":               {"text/html", `error=access_denied&error_description=not+today`, "access_denied: not today"},
		"no text":            {"application/json", `{"error":{"code":7},"error_description":null}`, `{"code":7}`},
		"secret":             {"application/json", `{"error":"no","error_description":"<` + testSecret + `> is wrong"}`, "no: <[secret]> is wrong"},
		"part":               {"application/json", `{"error":"no","error_description":"<` + testSecret[2:12] + `…> is wrong, ` + testSecret[8:] + `"}`, "no: <[secret]…> is wrong, [secret]"},
		"many parts":         {"application/json", `{"error":"no","error_description":"` + strings.Repeat(testSecret[2:10]+" ", 100) + `"}`, "no: [secret] [secret]"},
		"long":               {"application/json", `{"error":"no","error_description":"` + long + `"}`, "no: xxx"},
		"not any error":      {"text/html", `<html>Request Header Or Cookie Too Large</html>`, "a web page instead of a token server's answer"},
		"not an OAuth error": {"application/json", `{"message":"no"}`, "without an error code"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tokensFrom(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.kind)
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, tc.body)
			})
			failure := sendFails(t, c, t.Context(), notification("w-1"))
			if !strings.HasPrefix(failure.Detail, tc.want) || len(tc.want) > 20 && !strings.Contains(tc.want, "[secret] [") && failure.Detail != tc.want || strings.Contains(failure.Detail, testSecret[2:10]) {
				t.Errorf("%q, want %q", failure.Detail, tc.want)
			}
			if (failure.Kind == Credential) != (tc.body[0] != '<') {
				t.Errorf("%v: a page is a proxy's word", failure)
			}
			if text := LogText(failure); !strings.Contains(text, tc.want) || !strings.Contains(text, "status 401") {
				t.Errorf("for logs: %s", text)
			}
		})
	}
}
