package chatapitest

import (
	"context"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

const project = "0f8fad5b-d9cb-469f-a165-70867728950e"

func start(t *testing.T, cfg Config) *Server {
	s := Start(cfg)
	t.Cleanup(s.Close)
	return s
}

func credential() url.Values {
	return url.Values{"client_id": {DefaultClientID}, "client_secret": {DefaultClientSecret}, "grant_type": {"client_credentials"}}
}

// getToken asks with the credential as form fields.
func getToken(t *testing.T, s *Server) string {
	t.Helper()
	resp, err := http.PostForm(s.TokenURL(), credential())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var reply map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || reply["token_type"] != "Bearer" || reply["expires_in"].(float64) < 1 {
		t.Fatalf("%d %v", resp.StatusCode, reply)
	}
	return reply["access_token"].(string)
}

// call posts JSON with the token as a bearer; change may spoil it.
func call(t *testing.T, s *Server, token, body string, change func(*http.Request)) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.ChatURL(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func body(ids ...string) string {
	text, _ := json.Marshal(map[string]any{"project_id": project, "message": "hi", "woven_ids": append([]string{}, ids...)})
	return string(text)
}

func TestToken(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(url.Values, *http.Request)
		status int
		code   string
	}{
		"basic":        {func(v url.Values, r *http.Request) { r.SetBasicAuth(DefaultClientID, DefaultClientSecret) }, 401, "invalid_client"},
		"wrong secret": {func(v url.Values, r *http.Request) { v.Set("client_secret", "x") }, 401, "invalid_client"},
		"wrong id":     {func(v url.Values, r *http.Request) { v.Set("client_id", "x") }, 401, "invalid_client"},
		"grant":        {func(v url.Values, r *http.Request) { v.Set("grant_type", "password") }, 400, "unsupported_grant_type"},
		"no grant":     {func(v url.Values, r *http.Request) { v.Del("grant_type") }, 400, "unsupported_grant_type"},
		"in the query": {func(v url.Values, r *http.Request) { r.URL.RawQuery = v.Encode(); clear(v) }, 401, "invalid_client"},
		"GET":          {func(v url.Values, r *http.Request) { r.Method = "GET" }, 405, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{})
			values := credential()
			req, _ := http.NewRequest("POST", s.TokenURL(), nil)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			tc.change(values, req)
			req.Body = io.NopCloser(strings.NewReader(values.Encode()))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tc.status || !strings.Contains(string(text), `"error":"`+tc.code+`"`) || s.Counts().TokensRefused != 1 {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, text, tc.status, tc.code)
			}
		})
	}
}

func TestCallFollowsTheSchema(t *testing.T) {
	s := start(t, Config{MaxRecipients: 3})
	good := getToken(t, s)
	field := func(old, new string) string { return strings.Replace(body("a"), old, new, 1) }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	path := func(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }
	for name, tc := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
	}{
		"good":              {body("a"), nil, 200},
		"trailing slash":    {body("a"), path(ChatPath + "/"), 200},
		"no recipients":     {body(), nil, 200},
		"charset":           {body("a"), header("Content-Type", "application/json; charset=utf-8"), 200},
		"upper case UUID":   {field(project, strings.ToUpper(project)), nil, 200},
		"other path":        {body("a"), path("/mini-app-runtime/v1/"), 404},
		"two slashes":       {body("a"), path(ChatPath + "//"), 404},
		"GET":               {body("a"), func(r *http.Request) { r.Method = "GET" }, 405},
		"text":              {body("a"), header("Content-Type", "text/plain"), 415},
		"no type":           {body("a"), func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"no token":          {body("a"), func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"other token":       {body("a"), header("Authorization", "Bearer nonsense"), 401},
		"basic":             {body("a"), header("Authorization", "Basic "+good), 401},
		"empty":             {"", nil, 400},
		"not JSON":          {"hello", nil, 400},
		"array":             {"[" + body("a") + "]", nil, 400},
		"trailing":          {body("a") + "x", nil, 400},
		"extra member":      {field("{", `{"extra":1,`), nil, 400},
		"member twice":      {field("{", `{"message":"x",`), nil, 400},
		"no message":        {field(`"message":"hi",`, ""), nil, 400},
		"null message":      {field(`"hi"`, "null"), nil, 400},
		"number as message": {field(`"hi"`, "1"), nil, 400},
		"case":              {field(`"message"`, `"Message"`), nil, 400},
		"no recipients key": {field(`,"woven_ids":["a"]`, ""), nil, 400},
		"recipients text":   {field(`["a"]`, `"a"`), nil, 400},
		"null recipient":    {field(`["a"]`, `[null]`), nil, 400},
		"number recipient":  {field(`["a"]`, `[1]`), nil, 400},
		"no project":        {field(`,"project_id":"`+project+`"`, ""), nil, 400},
		"not a UUID":        {field(project, project[1:]), nil, 400},
		"UUID in braces":    {field(project, "{"+project[2:]+"}"), nil, 400},
		"urn":               {field(project, "urn:uuid:"+project), nil, 400},
		"too many":          {body("a", "b", "c", "d"), nil, 400},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no project" && !strings.HasSuffix(tc.body, "}") {
				t.Fatal("the test spoils the JSON itself")
			}
			status, text, err := call(t, s, good, tc.body, tc.change)
			if err != nil || status != tc.status {
				t.Errorf("%d %s %v, want %d", status, text, err, tc.status)
			}
			if status != 200 && !json.Valid([]byte(text)) {
				t.Errorf("the error body is not JSON: %s", text)
			}
		})
	}
}

func TestTokensExpireAndAreRevoked(t *testing.T) {
	s := start(t, Config{TokenLifetime: time.Nanosecond})
	if status, _, _ := call(t, s, getToken(t, s), body("a"), nil); status != 401 {
		t.Errorf("%d for an expired token", status)
	}
	s = start(t, Config{})
	token := getToken(t, s)
	s.RevokeTokens()
	if status, _, _ := call(t, s, token, body("a"), nil); status != 401 {
		t.Errorf("%d for a revoked token", status)
	}
	s.SetTokensDown(503)
	resp, err := http.PostForm(s.TokenURL(), credential())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 503 {
		t.Errorf("%s, want 503", resp.Status)
	}
}

func TestTokenServerIsScripted(t *testing.T) {
	s := start(t, Config{ClientSecret: "old"})
	status := func(secret string) int {
		form := credential()
		form.Set("client_secret", secret)
		resp, err := http.PostForm(s.TokenURL(), form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	s.SetSecret(DefaultClientID, "new")
	began := time.Now()
	s.SetTokenDelay("", 20*time.Millisecond)
	s.SetTokenDelay("another", time.Hour)
	if before, after := status("old"), status("new"); before != 401 || after != 200 || time.Since(began) < 40*time.Millisecond {
		t.Errorf("%d with the old secret, %d with the new, in %v", before, after, time.Since(began))
	}
}

// The exact members of a documented reply.
func TestReplyFollowsTheSchema(t *testing.T) {
	s := start(t, Config{})
	s.Reject("blocked", "x", "y")
	s.Reject("", "y")
	token := getToken(t, s)
	for _, tc := range []struct {
		ids     []string
		success bool
		errors  []any
	}{
		{[]string{"a"}, true, []any{}},
		{nil, true, []any{}},
		{[]string{"a", "unknown-1", "x", "y", "member-1", "unknown-2"}, true, []any{
			map[string]any{"user_ids": []any{"x"}, "reason": "blocked"},
			map[string]any{"user_ids": []any{"member-1"}, "reason": "project member"},
			map[string]any{"user_ids": []any{"unknown-1", "unknown-2"}, "reason": "user not found"},
		}},
		{[]string{"x"}, false, []any{map[string]any{"user_ids": []any{"x"}, "reason": "blocked"}}},
	} {
		status, text, err := call(t, s, token, body(tc.ids...), nil)
		var reply map[string]any
		if err := json.Unmarshal([]byte(text), &reply); err != nil {
			t.Fatal(err)
		}
		info, _ := reply["info"].(string)
		delete(reply, "info")
		want := map[string]any{"success": tc.success, "data": map[string]any{"errors": tc.errors}}
		if err != nil || status != 200 || info == "" || !reflect.DeepEqual(reply, want) {
			t.Errorf("%v: %d %s %v", tc.ids, status, text, err)
		}
	}
	if s.Delivered(project, "hi", "a") != 2 || s.Delivered(project, "hi", "x") != 0 || s.Delivered(project, "hi", "y") != 1 {
		t.Errorf("delivered %v", s.Deliveries())
	}
	if got := s.Repeated(); len(got) != 1 || got[0] != (Delivery{project, "hi", "a"}) {
		t.Errorf("repeated %v", got)
	}
	c := s.Counts()
	if c.Calls != 4 || c.Delivered != 3 || c.Rejected != 5 || c.ByStatus[200] != 4 || c.TokensIssued != 1 || c.MaxInFlight != 1 || c.DuplicateInCall != 0 {
		t.Errorf("%+v", c)
	}
}

func TestFaults(t *testing.T) {
	const other = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	for name, tc := range map[string]struct {
		fault     Fault
		status    int
		delivered int
		breaks    bool
		inReply   string
		recorded  int
	}{
		"none":              {Fault{}, 200, 1, false, "success", 200},
		"status":            {Fault{Status: 503, Body: "closed", Header: map[string]string{"Retry-After": "1"}}, 503, 0, false, "closed", 503},
		"status, delivered": {Fault{Status: 504, Deliver: true}, 504, 1, false, "", 504},
		"200 of our own":    {Fault{Status: 200, Body: "<html>"}, 200, 0, false, "<html>", 200},
		"before":            {Fault{Break: BreakBefore}, 0, 0, true, "", 0},
		"after":             {Fault{Break: BreakAfter}, 0, 1, true, "", 0},
		"middle":            {Fault{Break: BreakMiddle}, 200, 1, true, `{"success":true`, 0},
		"end":               {Fault{Break: BreakEnd}, 200, 1, true, `"info":`, 200},
		"delay":             {Fault{Delay: time.Millisecond}, 200, 1, false, "success", 200},
		"other project":     {Fault{Status: 500, Project: other}, 200, 1, false, "success", 200},
		"other recipients":  {Fault{RefuseIDs: []string{"b"}}, 200, 1, false, "success", 200},
		"recipient":         {Fault{RefuseIDs: []string{"b", "a"}}, 400, 0, false, "statusCode", 400},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{})
			token := getToken(t, s)
			s.Script(tc.fault)
			status, text, err := call(t, s, token, body("a"), nil)
			if status != tc.status || (err != nil) != tc.breaks || !strings.Contains(text, tc.inReply) {
				t.Errorf("%d %q %v", status, text, err)
			}
			if got := s.Delivered(project, "hi", "a"); got != tc.delivered {
				t.Errorf("delivered %d times, want %d", got, tc.delivered)
			}
			calls := s.Calls()
			if len(calls) != 1 || calls[0].Status != tc.recorded || calls[0].Delivered != (tc.delivered == 1) || calls[0].InFlight != 1 {
				t.Errorf("recorded %+v", calls)
			}
			s.ClearFaults()
			if status, _, err := call(t, s, token, body("c"), nil); status != 200 || err != nil {
				t.Errorf("afterwards %d %v", status, err)
			}
		})
	}
}

// A reply that is whole but for its end arrives, and the connection stays open.
func TestHangEnd(t *testing.T) {
	s := start(t, Config{})
	token := getToken(t, s)
	s.Script(Fault{Break: HangEnd})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.ChatURL(), strings.NewReader(body("a")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var reply Reply
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil || !reply.Success {
		t.Errorf("%+v, %v", reply, err)
	}
	cancel()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("the reply ended with %v, want to end it ourselves", err)
	}
}

func TestHeaderLines(t *testing.T) {
	s := start(t, Config{})
	token := getToken(t, s)
	s.Script(Fault{Status: 429, Header: map[string]string{"Retry-After": "1", "retry-after": "2"}})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.ChatURL(), strings.NewReader(body("a")))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Values("Retry-After"); len(got) != 2 {
		t.Errorf("Retry-After is %q, want two lines", got)
	}
}

func TestScriptIsInOrder(t *testing.T) {
	s := start(t, Config{})
	token := getToken(t, s)
	s.Script(Fault{Status: 500, Times: 2}, Fault{Status: 429}, Fault{Status: 503, Times: -1})
	statuses := func(n int) (got []int) {
		for range n {
			status, _, _ := call(t, s, token, body("a", "a"), nil)
			got = append(got, status)
		}
		return got
	}
	if got := statuses(6); !reflect.DeepEqual(got, []int{500, 500, 429, 503, 503, 503}) {
		t.Errorf("%v", got)
	}
	s.ClearFaults()
	s.SetDown(502)
	if got := statuses(2); !reflect.DeepEqual(got, []int{502, 502}) {
		t.Errorf("down: %v", got)
	}
	s.SetDown(0)
	if got := statuses(1); got[0] != 200 || s.Counts().DuplicateInCall != 1 || s.Delivered(project, "hi", "a") != 2 {
		t.Errorf("%v %+v", got, s.Counts())
	}
}

func TestHangEndsWithTheClientAndWithTheServer(t *testing.T) {
	seen := make(chan Call, 2)
	s := start(t, Config{OnCall: func(c Call) { seen <- c }})
	token := getToken(t, s)
	s.Script(Fault{Break: Hang, Times: 2})
	for _, end := range []func(context.CancelFunc){func(cancel context.CancelFunc) { cancel() }, func(context.CancelFunc) { s.Close() }} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error)
		go func() {
			_, _, err := call(t, s, token, body("a"), func(r *http.Request) { *r = *r.WithContext(ctx) })
			ended <- err
		}()
		if c := <-seen; !c.Delivered || c.Status != 0 {
			t.Errorf("recorded %+v", c)
		}
		end(cancel)
		if err := <-ended; err == nil {
			t.Error("the hanging call was answered")
		}
	}
}

func TestSeveralClients(t *testing.T) {
	s := start(t, Config{Credentials: map[string]string{"other": "secret-2"}, Projects: map[string]string{project: "other"}})
	ask := func(client, secret string) (int, string) {
		resp, err := http.PostForm(s.TokenURL(), url.Values{"client_id": {client}, "client_secret": {secret}, "grant_type": {"client_credentials"}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var reply struct {
			Token string `json:"access_token"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&reply)
		return resp.StatusCode, reply.Token
	}
	for client, secret := range map[string]string{"other": DefaultClientSecret, DefaultClientID: "secret-2", "nobody": "", "": ""} {
		if status, _ := ask(client, secret); status != 401 {
			t.Errorf("%q with %q: %d", client, secret, status)
		}
	}
	_, first := ask(DefaultClientID, DefaultClientSecret)
	_, second := ask("other", "secret-2")
	free := strings.Replace(body("a"), project, "11111111-2222-4333-8444-555555555555", 1)
	for _, tc := range []struct {
		token, body string
		want        int
	}{{first, body("a"), 403}, {second, body("a"), 200}, {first, free, 200}, {second, free, 200}} {
		if status, text, err := call(t, s, tc.token, tc.body, nil); err != nil || status != tc.want {
			t.Errorf("%d %s %v, want %d", status, text, err, tc.want)
		}
	}
	if n := s.Delivered(project, "hi", "a"); n != 1 {
		t.Errorf("delivered %d times", n)
	}
}

func TestForgetAndConcurrency(t *testing.T) {
	var hooked sync.Map
	s := start(t, Config{Forget: true, Latency: time.Millisecond, OnCall: func(c Call) { hooked.Store(c.Recipients[0], true) }})
	token := getToken(t, s)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() { _, _, _ = call(t, s, token, body(string(rune('a'+i))), nil) })
	}
	group.Wait()
	n := 0
	hooked.Range(func(any, any) bool { n++; return true })
	if c := s.Counts(); n != 20 || c.Delivered != 20 || c.MaxInFlight < 1 || len(s.Calls())+len(s.Deliveries()) != 0 {
		t.Errorf("%d hooked, %+v, %d calls kept", n, c, len(s.Calls()))
	}
}

// A program that imports testing gains its flags.
func TestDoesNotImportTesting(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			if strings.Contains(i.Path.Value, "test") {
				t.Errorf("%s imports %s", f.Name(), i.Path.Value)
			}
		}
		checked++
	}
	if checked == 0 {
		t.Error("no file was checked")
	}
}
