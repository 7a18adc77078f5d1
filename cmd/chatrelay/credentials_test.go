package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

// write replaces a file at once, as careful editors and deployments do.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// entry is what --credentials-file says of one project.
func entry(n int, client, secretFile string) string {
	return fmt.Sprintf("%s:\n  client_id: %s\n  client_secret_file: %s\n", project(n), client, secretFile)
}

func officeConfig() chatapitest.Config {
	return chatapitest.Config{
		Credentials: map[string]string{"client-0": "hush-0", "client-1": "hush-1", "client-2": "hush-2"},
		Projects:    map[string]string{project(0): "client-0", project(1): "client-1", project(2): "client-2"},
	}
}

// One project's wrong credential, and another's missing one, hold up only their own jobs, until
// they are put right while the worker runs.
func TestSeveralCredentials(t *testing.T) {
	s := newSystem(t, officeConfig())
	write(t, s.dir, "s0", "hush-0\n")
	write(t, s.dir, "s1", "hush-x\n")
	write(t, s.dir, "s2", "hush-2\n")
	known := entry(0, "client-0", "s0") + entry(1, "client-1", "s1")
	file := write(t, s.dir, "credentials.yaml", known)
	p := s.worker("--credentials-file", file, "--client-id=")
	l := newLoad("creds", 60, 2, 3, 6)
	begun := time.Now()
	l.publish(s)
	delivered := func() map[string]int {
		n := map[string]int{}
		for d := range s.api.Deliveries() {
			n[d.ProjectID]++
		}
		return n
	}
	s.eventually(30*time.Second, "the good project's jobs", func() bool { return delivered()[project(0)] == 40 })
	for _, want := range []string{"no credential for project " + project(2), "no access token"} {
		s.eventually(30*time.Second, want, func() bool { return strings.Contains(p.stderr.String(), want) })
	}
	if n := len(s.letters()); n != 0 || len(delivered()) != 1 {
		t.Errorf("%d buried, delivered %v", n, delivered())
	}

	write(t, s.dir, "s1", "hush-1\n") // no signal: the worker sees it
	s.eventually(30*time.Second, "the changed secret", func() bool { return strings.Contains(p.stderr.String(), `"changed":1,`) })
	s.eventually(60*time.Second, "its project's jobs", func() bool { return delivered()[project(1)] > 0 })
	if waited := time.Since(begun); waited >= 15*time.Second {
		t.Errorf("delivered after %v, as late as without a reload", waited)
	}
	write(t, s.dir, "credentials.yaml", known+entry(2, "client-2", "s2"))
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.eventually(30*time.Second, "the added project", func() bool { return strings.Contains(p.stderr.String(), `"added":1,`) })
	s.drained(90 * time.Second)
	if repeats := l.account(s); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	if n := len(s.letters()); n != 0 {
		t.Errorf("%d buried", n)
	}
	want := map[string]int{project(0): 40, project(1): 40, project(2): 40}
	if got := delivered(); !maps.Equal(got, want) {
		t.Errorf("delivered %v", got)
	}
	counts := s.api.Counts()
	if counts.TokensIssued != 3 || counts.ByStatus[200] != counts.Calls {
		t.Errorf("%+v, want one token for each client and no call refused", counts)
	}
	t.Logf("%d tokens issued, %d refused, %d calls", counts.TokensIssued, counts.TokensRefused, counts.Calls)
	if code := s.stop(p, sigterm); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if strings.Contains(p.stderr.String(), "hush") {
		t.Error("the log holds a secret")
	}
}

// A wrong secret in the file of --client-secret-file is put right while the worker runs; its jobs do not wait
// for the end of the closure that it caused.
func TestSecretFileIsReadAgain(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	file := write(t, s.dir, "secret", "hush-x")
	p := s.worker("--client-secret-file", file)
	l := newLoad("again", 3, 1, 3, 3)
	begun := time.Now()
	l.publish(s)
	s.eventually(30*time.Second, "the closed gates", func() bool { return strings.Count(p.stderr.String(), "gate closed") >= 1 })
	write(t, s.dir, "secret", "\ufeff"+chatapitest.DefaultClientSecret)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.eventually(30*time.Second, "the refusal", func() bool {
		return strings.Contains(p.stderr.String(), "secret: line 1, byte 1: it begins with a byte order mark")
	})
	write(t, s.dir, "secret", chatapitest.DefaultClientSecret+"\r\n")
	s.drained(60 * time.Second)
	if waited := time.Since(begun); waited >= 15*time.Second {
		t.Errorf("delivered after %v, as late as without a probe", waited)
	}
	if repeats := l.account(s); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	if code := s.stop(p, sigterm); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if log := p.stderr.String(); strings.Contains(log, "hush") || strings.Contains(log, chatapitest.DefaultClientSecret) || !strings.Contains(log, "invalid_client: Invalid client or Invalid client credentials") {
		t.Error("the log holds a secret, or not the token server's word")
	}
}

func TestHangupWithoutCredentialsFile(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	p := s.worker()
	for n := range 2 {
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.eventually(20*time.Second, "the log line", func() bool {
			return strings.Count(p.stderr.String(), "SIGHUP: there is no credentials file") == n+1
		})
	}
	l := newLoad("hup", 5, 1, 1, 1)
	l.publish(s)
	s.drained(30 * time.Second)
	if repeats := l.account(s); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	if code := s.stop(p, sigterm); code != 0 {
		t.Errorf("ended with %d", code)
	}
}
