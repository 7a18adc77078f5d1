package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/chatrelay/chatrelay/chatapi"
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

func TestReadCredentials(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cafe", "hush-cafe\n")
	write(t, dir, "blank", " \n")
	cafe := func(n int) string { return entry(n, "cafe", "cafe") }
	both := map[string]credential{project(1): {"cafe", "hush-cafe"}, project(2): {"cafe", "hush-cafe"}}
	for name, tc := range map[string]struct {
		text string
		want map[string]credential
		err  string // with F for the file's name
	}{
		"two":              {cafe(1) + cafe(2), both, ""},
		"absolute":         {cafe(1) + entry(2, "cafe", filepath.Join(dir, "cafe")), both, ""},
		"alias":            {strings.Replace(cafe(1), ":\n", ": &one\n", 1) + project(2) + ": *one\n", both, ""},
		"JSON":             {`{"` + project(1) + `":{"client_id":"7","client_secret_file":"cafe"}}`, map[string]credential{project(1): {"7", "hush-cafe"}}, ""},
		"like a number":    {entry(1, "0012", "cafe"), map[string]credential{project(1): {"0012", "hush-cafe"}}, ""},
		"upper case":       {strings.Replace(cafe(1), project(1), "0F8FAD5B-D9CB-469F-A165-70867728950E", 1), map[string]credential{"0f8fad5b-d9cb-469f-a165-70867728950e": {"cafe", "hush-cafe"}}, ""},
		"empty":            {"", nil, "F names no project"},
		"comment":          {"# soon\n", nil, "F names no project"},
		"no projects":      {"{}", nil, "F names no project"},
		"list":             {"\n- a\n", nil, "F:2: the file must name projects"},
		"text":             {"hush-cafe", nil, "F:1: the file must name projects"},
		"not UUID":         {cafe(1) + "cafe:\n", nil, `F:4: project "cafe" must be a UUID such as`},
		"other UUID form":  {strings.ReplaceAll(cafe(1), "-", ""), nil, "must be a UUID"},
		"unknown key":      {cafe(1) + "  client_secret: hush-cafe\n", nil, `F:4: unknown key "client_secret": a project has`},
		"merge":            {project(1) + ":\n  <<: {client_id: a}\n", nil, `F:2: unknown key "<<"`},
		"project twice":    {cafe(1) + cafe(2) + cafe(1), nil, `F:7: "` + project(1) + `" is named twice`},
		"twice by case":    {entryOf("0f8fad5b-d9cb-469f-a165-70867728950e") + entryOf("0F8FAD5B-d9cb-469f-a165-70867728950e"), nil, "F:4: project 0f8fad5b-d9cb-469f-a165-70867728950e is named twice"},
		"key twice":        {cafe(1) + "  client_id: other\n", nil, `F:4: "client_id" is named twice`},
		"odd key":          {"? [a]\n: b\n", nil, "F:1: a key must be plain text"},
		"nothing":          {project(1) + ":\n", nil, "F:1: project " + project(1) + " must have client_id and client_secret_file"},
		"no id":            {project(1) + ":\n  client_secret_file: cafe\n", nil, "F:1: project " + project(1) + " lacks client_id"},
		"no file":          {project(1) + ":\n  client_id: cafe\n", nil, "F:1: project " + project(1) + " lacks client_secret_file"},
		"null id":          {entry(1, "", "cafe"), nil, "F:2: client_id is not text, or empty"},
		"list as id":       {entry(1, "[a]", "cafe"), nil, "F:2: client_id is not text, or empty"},
		"secret missing":   {entry(1, "cafe", "gone"), nil, "F:3: client_secret_file: open "},
		"secret empty":     {entry(1, "cafe", "blank"), nil, "blank is empty"},
		"secret directory": {entry(1, "cafe", "."), nil, "is a directory"},
		"bad YAML":         {cafe(1) + "\tx: y\n", nil, "F: not YAML near line 3: found a tab character"},
		"bad first line":   {"a: b: c\n", nil, "F: not YAML: mapping values are not allowed"},
		"not UTF-8":        {"a: \xff\n", nil, "F: not YAML: invalid leading UTF-8 octet"},
		"unknown anchor":   {entry(1, "cafe", "*hush-cafe"), nil, "F: not YAML: unknown anchor"},
		"two documents":    {cafe(1) + "---\n" + cafe(2), nil, "F:4: a second YAML document"},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, dir, "credentials.yaml", tc.text)
			got, err := readCredentials(file)
			if tc.err == "" {
				if err != nil || !reflect.DeepEqual(got, tc.want) {
					t.Errorf("%v, %v; want %v", got, err, tc.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), strings.Replace(tc.err, "F", file, 1)) {
				t.Fatalf("%v, want %q", err, tc.err)
			}
			if text := err.Error(); strings.Contains(text, "hush") || strings.Contains(text, "\n") {
				t.Errorf("the error holds a secret or more than a line: %s", text)
			}
		})
	}
	if _, err := readCredentials(filepath.Join(dir, "absent.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func entryOf(id string) string { return strings.Replace(entry(1, "cafe", "cafe"), project(1), id, 1) }

// office is a Chat API with a client for each of the projects 0, 1 and 2.
func office(t *testing.T) *chatapitest.Server {
	api := chatapitest.Start(officeConfig())
	t.Cleanup(api.Close)
	return api
}

func officeConfig() chatapitest.Config {
	return chatapitest.Config{
		Credentials: map[string]string{"client-0": "hush-0", "client-1": "hush-1", "client-2": "hush-2"},
		Projects:    map[string]string{project(0): "client-0", project(1): "client-1", project(2): "client-2"},
	}
}

// sends makes a call for a project and returns the kind of failure, "" for none.
func sends(t *testing.T, c *credentials, n int) chatapi.Kind {
	t.Helper()
	_, err := c.Send(t.Context(), chatapi.Notification{ProjectID: project(n), Message: "m", WovenIDs: []string{"w"}})
	if err == nil {
		return ""
	}
	api, ok := errors.AsType[*chatapi.Error](err)
	if !ok || strings.Contains(err.Error(), "hush") {
		t.Fatalf("Send: %v", err)
	}
	return api.Kind
}

func TestCredentialsByProject(t *testing.T) {
	api, dir := office(t), t.TempDir()
	addresses := chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL()}
	write(t, dir, "good", "hush-0")
	write(t, dir, "wrong", "hush-x")
	file := write(t, dir, "c.yaml", entry(0, "client-0", "good")+entry(1, "client-1", "wrong"))

	c, err := newCredentials(addresses, file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Send(t.Context(), chatapi.Notification{ProjectID: project(7)})
	want := &chatapi.Error{Kind: chatapi.Credential, Detail: "no credential for project " + project(7) + ", add it to --credentials-file"}
	if got, _ := errors.AsType[*chatapi.Error](err); !reflect.DeepEqual(got, want) {
		t.Errorf("an unknown project: %v", err)
	}
	if counts := api.Counts(); counts.Calls+counts.TokensIssued+counts.TokensRefused != 0 {
		t.Errorf("it touched the network: %+v", counts)
	}
	if sends(t, c, 0) != "" || sends(t, c, 1) != chatapi.Credential || sends(t, c, 0) != "" {
		t.Error("one project's wrong secret is another's trouble, or its own no trouble")
	}
	withRest := addresses
	withRest.ClientID, withRest.ClientSecret = "client-2", "hush-2"
	if c, err = newCredentials(withRest, file); err != nil {
		t.Fatal(err)
	}
	if sends(t, c, 2) != "" || sends(t, c, 0) != "" || sends(t, c, 1) != chatapi.Credential {
		t.Error("--client-id is not for the projects that the file does not name, or for others too")
	}
	if c, err = newCredentials(withRest, ""); err != nil || sends(t, c, 2) != "" || sends(t, c, 0) != chatapi.Credential {
		t.Errorf("without a file: %v", err)
	}
	var usage usageError
	if _, err := newCredentials(addresses, ""); !errors.As(err, &usage) || !strings.Contains(err.Error(), "--client-id") || !strings.Contains(err.Error(), "--credentials-file") {
		t.Errorf("neither: %v", err)
	}
}

func TestCredentialsReload(t *testing.T) {
	api, dir := office(t), t.TempDir()
	write(t, dir, "s0", "hush-0")
	write(t, dir, "s2", "hush-2")
	// As Kubernetes mounts a secret: a link to a directory that is a link.
	for version, secret := range map[string]string{"v1": "hush-x", "v2": "hush-1"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version), "s1", secret)
	}
	link := func(version string) {
		if err := errors.Join(os.Symlink(version, filepath.Join(dir, ".new")), os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	if err := os.Symlink("..data/s1", filepath.Join(dir, "s1")); err != nil {
		t.Fatal(err)
	}
	two := entry(0, "client-0", "s0") + entry(1, "client-1", "s1")
	file := write(t, dir, "c.yaml", two)
	c, err := newCredentials(chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL()}, file)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(want reloaded) {
		t.Helper()
		if got, err := c.reload(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("reload: %+v, %v; want %+v", got, err, want)
		}
	}
	kinds := func(want ...chatapi.Kind) {
		t.Helper()
		if got := []chatapi.Kind{sends(t, c, 0), sends(t, c, 1), sends(t, c, 2)}; !slices.Equal(got, want) {
			t.Errorf("projects: %q, want %q", got, want)
		}
	}
	const no = chatapi.Credential
	kinds("", no, no)
	reload(reloaded{})
	link("v2")
	reload(reloaded{changed: []string{project(1)}})
	kinds("", "", no)
	write(t, dir, "c.yaml", two+entry(2, "client-2", "s2"))
	reload(reloaded{added: []string{project(2)}})
	kinds("", "", "")
	if n := api.Counts().TokensIssued; n != 3 {
		t.Errorf("%d tokens for three clients: a reload lost some", n)
	}
	write(t, dir, "c.yaml", "# moved projects and clients about\n"+entry(1, "client-1", "s1")+entry(2, "client-0", "s0"))
	reload(reloaded{removed: []string{project(0)}, changed: []string{project(2)}})
	kinds(no, "", no)
	if n := api.Counts().TokensIssued; n != 3 {
		t.Errorf("%d tokens: a credential that stayed lost its token", n)
	}
	write(t, dir, "c.yaml", "")
	if _, err := c.reload(); err == nil {
		t.Error("an empty file was taken")
	}
	kinds(no, "", no)
}

// Calls go on while the credentials are exchanged.
func TestCredentialsReloadUnderCalls(t *testing.T) {
	api, dir := office(t), t.TempDir()
	write(t, dir, "s0", "hush-0")
	write(t, dir, "s1", "hush-1")
	file := write(t, dir, "c.yaml", entry(0, "client-0", "s0"))
	c, err := newCredentials(chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL()}, file)
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for range 50 {
				if kind := sends(t, c, 0); kind != "" {
					t.Errorf("a project that did not change: %s", kind)
				}
			}
		})
	}
	for n := range 20 {
		write(t, dir, "c.yaml", entry(0, "client-0", "s0")+strings.Repeat(entry(1, "client-1", "s1"), n%2))
		if _, err := c.reload(); err != nil {
			t.Fatal(err)
		}
	}
	callers.Wait()
}

func TestCredentialsWatch(t *testing.T) {
	t.Parallel() // it waits for the polls
	api, dir := office(t), t.TempDir()
	write(t, dir, "s0", "hush-0")
	write(t, dir, "s1", "hush-x")
	good := entry(0, "client-0", "s0") + entry(1, "client-1", "s1")
	file := write(t, dir, "c.yaml", good)
	c, err := newCredentials(chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL()}, file)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan string, 10)
	c.changed = func(project string) { changed <- project }
	var log lockedBuffer
	says := func(want string, times int) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); strings.Count(log.String(), want) < times; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never said %q %d times:\n%s", want, times, log.String())
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.checkAll(ctx, zerolog.New(&log))
		c.watch(ctx, zerolog.New(&log))
	}()
	says(`"client_id":"client-1","error":"get an access token from `+api.TokenURL()+`: credential, status 401"`, 1)

	write(t, dir, "s1", "hush-1") // the poll sees it
	says(`"added":0,"removed":0,"changed":1,"message":"credentials reloaded"`, 1)
	if got := <-changed; got != project(1) {
		t.Errorf("told that %s changed", got)
	}
	if sends(t, c, 1) != "" {
		t.Error("the new secret is not used")
	}
	write(t, dir, "c.yaml", good+"oops")
	says("credentials not reloaded", 1)
	c.hangup <- syscall.SIGHUP // whoever asks is answered
	says("credentials not reloaded", 2)
	c.hangup <- syscall.SIGHUP
	says("credentials not reloaded", 3)
	if sends(t, c, 0) != "" || sends(t, c, 1) != "" {
		t.Error("the old credentials do not serve on")
	}
	write(t, dir, "c.yaml", good) // it tells that the trouble is over, though nothing changed
	says(`"added":0,"removed":0,"changed":0,"message":"credentials reloaded"`, 1)
	c.hangup <- syscall.SIGHUP
	says(`"added":0,"removed":0,"changed":0,"message":"credentials reloaded"`, 2)
	write(t, dir, "s1", "hush-y") // what does not work is told at once
	says("no access token", 2)
	stop()
	<-ended
	if text := log.String(); strings.Contains(text, "hush") {
		t.Errorf("the log holds a secret:\n%s", text)
	}
	if got := len(changed); got != 1 {
		t.Errorf("told of %d more changes, want 1", got)
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
	told := func() map[string]int {
		n := map[string]int{}
		for d := range s.api.Deliveries() {
			n[d.ProjectID]++
		}
		return n
	}
	s.eventually(30*time.Second, "the good project's jobs", func() bool { return told()[project(0)] == 40 })
	for _, want := range []string{"no credential for project " + project(2), "no access token"} {
		s.eventually(30*time.Second, want, func() bool { return strings.Contains(p.stderr.String(), want) })
	}
	if n := len(s.letters()); n != 0 || len(told()) != 1 {
		t.Errorf("%d buried, told %v", n, told())
	}

	write(t, s.dir, "s1", "hush-1\n") // no signal: the worker sees it
	s.eventually(30*time.Second, "the changed secret", func() bool { return strings.Contains(p.stderr.String(), `"changed":1,`) })
	s.eventually(60*time.Second, "its project's jobs", func() bool { return told()[project(1)] > 0 })
	if waited := time.Since(begun); waited >= 15*time.Second {
		t.Errorf("told after %v, as late as without a reload", waited)
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
	if got := told(); !maps.Equal(got, want) {
		t.Errorf("told %v", got)
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

func TestHangupWithoutCredentialsFile(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	p := s.worker()
	for n := range 2 {
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.eventually(20*time.Second, "the log line", func() bool {
			return strings.Count(p.stderr.String(), "SIGHUP: there is no --credentials-file") == n+1
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
