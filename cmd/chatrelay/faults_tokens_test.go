//go:build faults

package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

// tokenEndpointDown lets the token server fail while hundreds of projects that share a credential wait
// for a first token.
func tokenEndpointDown(t *testing.T, f *figures) {
	const projects, down = 300, 6 * time.Second
	s := startSystem(t, chatapitest.Config{})
	s.api.SetTokensDown(http.StatusServiceUnavailable)
	l := newLoad("down", 2*projects, 1, projects, 2*projects)
	l.publish(s)
	p := s.worker()
	s.eventually(patience, "the closed gates", func() bool { return strings.Count(p.stderr.String(), "gate closed") >= projects })
	time.Sleep(down) // the subject of the test
	counts := s.api.Counts()
	s.api.SetTokensDown(0)
	back := time.Now()
	s.drained(patience)
	took := time.Since(back)
	f.add("%d token requests while they failed; all delivered %.1f s after the token server's return", counts.TokensRefused, took.Seconds())
	if counts.TokensRefused > 10 || counts.Calls > 0 {
		t.Errorf("%d token requests and %d calls while no token was to be had, want at most 10, and none", counts.TokensRefused, counts.Calls)
	}
	if n := s.api.Counts().TokensIssued; n != 1 {
		t.Errorf("%d tokens for one credential, want 1", n)
	}
	if got := f.account(s, l); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	f.bound(took < 8*time.Second, "all delivered within 8 s of the token server's return")
}

// tokenBesideTheCalls has tokens that live for four seconds, and a token server that takes one and a half.
func tokenBesideTheCalls(t *testing.T, f *figures) {
	const lives, slow = 4 * time.Second, 1500 * time.Millisecond
	s := startSystem(t, chatapitest.Config{TokenLifetime: lives})
	s.worker()
	first := newLoad("first", 1, 1, 1, 1)
	first.publish(s)
	s.calls(1)
	s.api.SetTokenDelay("", slow)
	l := newLoad("beside", 180, 1, 3, 180)
	took := l.publishEvery(s, 50*time.Millisecond)
	s.drained(patience)
	counts := s.api.Counts()
	f.add("%d tokens; jobs delivered after %v (half of them), %v (all); %d calls answered 401", counts.TokensIssued,
		took.at(.5).Round(time.Millisecond), took.at(1).Round(time.Millisecond), counts.ByStatus[http.StatusUnauthorized])
	if counts.TokensIssued < 3 {
		t.Errorf("%d tokens: none was replaced", counts.TokensIssued)
	}
	if got := f.account(s, first, l); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	f.bound(took.at(1) < slow/2, "no job waits for a token: all delivered within 0.75 s of their publication")
}

// tokenServerHangs lets the token requests of one credential hang, on which a hundred projects wait.
func tokenServerHangs(t *testing.T, f *figures) {
	s := startSystem(t, officeConfig())
	write(t, s.dir, "s0", "hush-0")
	write(t, s.dir, "s1", "hush-1")
	var names strings.Builder
	for n := range 100 {
		names.WriteString(entry(100+n, "client-0", "s0"))
	}
	file := write(t, s.dir, "credentials.yaml", names.String()+entry(1, "client-1", "s1"))
	s.api.SetTokenDelay("client-0", time.Hour)
	s.worker("--credentials-file", file, "--client-id=", "--concurrency", "8", "--call-timeout", "3s")
	waiting, others := newOthers("waiting", 100, 100), newLoad("others", 20, 1, 1, 20)
	for i := range others.jobs {
		others.jobs[i].ProjectID = project(1)
	}
	waiting.publish(s)
	took := others.publishEvery(s, 250*time.Millisecond)
	if n := s.api.Counts().Calls; n > len(others.jobs) {
		t.Errorf("%d calls: the token requests did not hang", n)
	}
	s.api.SetTokenDelay("client-0", 0)
	s.drained(patience)
	f.add("%s", took.words())
	if got := f.account(s, waiting, others); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	f.bound(took.at(.8) < time.Second, "four fifths of the other's jobs delivered within 1 s of their publication")
}

// rotatedSecret replaces a client's secret at the token server, with its tokens revoked, and a moment later
// in the file that the worker was given.
func rotatedSecret(t *testing.T, f *figures) {
	const fresh = "rotated-Value-9876543210"
	s := startSystem(t, chatapitest.Config{})
	file := write(t, s.dir, "secret", chatapitest.DefaultClientSecret+"\n")
	p := s.worker("--client-secret-file", file)
	before, meanwhile := newLoad("before", 40, 1, 40, 40), newLoad("meanwhile", 40, 1, 40, 40)
	before.publish(s)
	s.drained(patience)
	s.api.SetSecret(chatapitest.DefaultClientID, fresh)
	s.api.RevokeTokens()
	meanwhile.publish(s)
	s.eventually(patience, "the closed gates", func() bool { return strings.Count(p.stderr.String(), "gate closed") >= 1 })
	write(t, s.dir, "secret", fresh+"\n")
	replaced := time.Now()
	s.drained(patience)
	took := time.Since(replaced)
	counts := s.api.Counts()
	f.add("%d token requests refused, %d tokens issued; all delivered %.1f s after the file was replaced", counts.TokensRefused, counts.TokensIssued, took.Seconds())
	if counts.TokensRefused > 5 || counts.TokensIssued != 2 {
		t.Errorf("%d token requests refused, %d tokens; want at most 5, and one for each secret", counts.TokensRefused, counts.TokensIssued)
	}
	if got := f.account(s, before, meanwhile); got.repeated > 0 {
		t.Errorf("%d repeated", got.repeated)
	}
	if log := p.stderr.String(); strings.Contains(log, fresh) || strings.Contains(log, chatapitest.DefaultClientSecret) || !strings.Contains(log, "invalid_client: Invalid client") {
		t.Error("the log holds a secret, or not the token server's word")
	}
	f.bound(took < 5*time.Second, "all delivered within 5 s of the file's replacement")
}
