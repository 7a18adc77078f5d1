package chatapi

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxTokenReply bounds, in bytes, what is read of the token endpoint's answer.
const maxTokenReply = 1 << 20

// plainReplies writes the answers of a token endpoint as golang.org/x/oauth2 reads them. That takes
// JSON under some media types only, expires_in as an integer only, and a negative one for a date in
// the past. Endpoints differ in all of that, and what they mean is clear from the content.
type plainReplies struct{ http.RoundTripper }

// RoundTrip leaves alone an answer that is no token and no error as RFC 6749 sections 5.1 and 5.2
// describe them.
func (p plainReplies) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := p.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	text, err := readTokenReply(resp)
	reply, understood := parseTokenReply(text)
	if err != nil && !understood { // what is complete in itself needs no end
		return nil, err
	}
	if understood {
		text, _ = json.Marshal(reply)
		resp.Header.Set("Content-Type", "application/json")
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

// readTokenReply reads the body of resp and closes it. With an error it returns what came before.
func readTokenReply(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, nil // its body is a connection that never ends
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenReply))
	return decoded(resp.Header, text, maxTokenReply), err
}

// tokenReply is an answer with or without a token, written plainly.
type tokenReply struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // in seconds; zero: until a 401
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// parseTokenReply reads JSON or a form, whatever it was sent as. The type of the token decides
// nothing: the API's document knows Bearer only, and token servers call it by several names.
func parseTokenReply(text []byte) (tokenReply, bool) {
	text = bytes.TrimSpace(inUTF8(text))
	field := func(string) string { return "" }
	if bytes.HasPrefix(text, []byte("{")) {
		value, err := jsontext.NewDecoder(bytes.NewReader(text), lenient).ReadValue() // not what stands behind it
		var object map[string]jsontext.Value
		if err != nil || json.Unmarshal(value, &object, lenient) != nil {
			return tokenReply{}, false
		}
		field = func(name string) string { return plainText(object[name]) }
		if object["access_token"].Kind() != '"' {
			delete(object, "access_token") // a number or null is none
		}
	} else if form, err := url.ParseQuery(string(text)); err == nil {
		field = form.Get
	}
	r := tokenReply{strings.TrimSpace(field("access_token")), seconds(field("expires_in")), field("error"), field("error_description")}
	return r, r.AccessToken != "" || r.Error != ""
}

// plainText is what a JSON string holds, and any other value as it is written; "" of null.
func plainText(value jsontext.Value) string {
	var text string
	switch value.Kind() {
	case '"':
		_ = json.Unmarshal(value, &text, lenient)
		return text
	case 'n':
		return ""
	}
	return string(value)
}

// seconds reads a lifetime in any spelling of a number: 300, 300.0, 3.6e3. Zero: it is absent, not
// positive or no number, so that the token serves until a 401.
func seconds(text string) int64 {
	n, _ := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if !(n > 0) { // nor is NaN
		return 0
	}
	return int64(max(1, min(n, math.MaxInt32)))
}

// checkToken says why a token cannot be used. RFC 6750 section 2.1 allows less than this, but what
// an HTTP header can carry is the API's to judge.
func checkToken(token string) error {
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("the access token holds byte 0x%02x at position %d of %d, which cannot stand in an HTTP header (RFC 6750 section 2.1): it is dropped", c, i+1, len(token))
		}
	}
	return nil
}
