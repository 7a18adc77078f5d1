package chatapi

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

const otherProject = "11111111-2222-4333-8444-555555555555"

func TestWithAnotherCredential(t *testing.T) {
	api, ours := startAPI(t, chatapitest.Config{
		Credentials: map[string]string{"other": "other-secret"},
		Projects:    map[string]string{testProject: chatapitest.DefaultClientID, otherProject: "other"},
	})
	wrong, err := ours.With("other", "hush-hush")
	if err != nil {
		t.Fatal(err)
	}
	note := notification("w-1")
	note.ProjectID = otherProject
	if failure := sendFails(t, wrong, t.Context(), note); failure.Kind != Credential || strings.Contains(failure.Error(), "hush-hush") {
		t.Errorf("a wrong secret: %v", failure)
	}
	// The token trouble of one is none of the other's, whose project is not the first's.
	together(t, ours, 20)
	if failure := sendFails(t, ours, t.Context(), note); failure.Kind != Credential || failure.Status != http.StatusForbidden {
		t.Errorf("another client's project: %v, want a 403", failure)
	}
	theirs, err := wrong.With("other", "other-secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Send(t.Context(), note); err != nil {
		t.Error(err)
	}
	if theirs.Endpoint() != ours.Endpoint() {
		t.Errorf("calls %s, not %s", theirs.Endpoint(), ours.Endpoint())
	}
	if counts := api.Counts(); counts.TokensIssued != 2 || counts.TokensRefused != 1 {
		t.Errorf("%+v, want a token for each of two, and one refused", counts)
	}
}

func TestWithSharesConnectionsAndHidesItsSecret(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"tok-` + r.FormValue("client_id") + `","token_type":"Bearer"}`))
			return
		}
		http.Error(w, "odd: "+r.Header.Get("Authorization")+" of other-secret", http.StatusUnprocessableEntity)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	ours := newClient(t, server.URL+"/chat", server.URL+"/token", 5*time.Second)
	theirs, err := ours.With("other", "other-secret")
	if err != nil {
		t.Fatal(err)
	}
	sendFails(t, ours, t.Context(), notification("w-1"))
	if failure := sendFails(t, theirs, t.Context(), notification("w-1")); failure.Detail != "odd: Bearer [token] of [secret]" {
		t.Errorf("%q", failure.Detail)
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for calls one after the other, want 1", n)
	}
}

func TestWithChecksTheCredential(t *testing.T) {
	c, err := New(Config{ClientID: "id", ClientSecret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	for want, cred := range map[string][2]string{
		"ClientID is empty":     {"", "hush-hush"},
		"ClientSecret is empty": {"id", ""},
		"white space":           {"id", "hush-hush\n"},
	} {
		if _, err := c.With(cred[0], cred[1]); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush-hush") {
			t.Errorf("With = %v, want %q", err, want)
		}
	}
}
