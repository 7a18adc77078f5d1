package credentials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

func project(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

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

// entry is what a credentials file says of one project.
func entry(n int, client, secretFile string) string {
	return fmt.Sprintf("%s:\n  client_id: %s\n  client_secret_file: %s\n", project(n), client, secretFile)
}

func TestReadCredentials(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "cafe", "hush-cafe\n")
	write(t, dir, "blank", " \n")
	write(t, dir, "bom", "\ufeffhush-cafe\n")
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
		"secret empty":     {entry(1, "cafe", "blank"), nil, "blank: it is empty"},
		"secret directory": {entry(1, "cafe", "."), nil, "is a directory"},
		"bad YAML":         {cafe(1) + "\tx: y\n", nil, "F: not YAML near line 3: found a tab character"},
		"bad first line":   {"a: b: c\n", nil, "F: not YAML: mapping values are not allowed"},
		"not UTF-8":        {"a: \xff\n", nil, "F: not YAML: invalid leading UTF-8 octet"},
		"CR in id":         {cafe(1) + entry(2, `"cafe\r"`, "cafe"), nil, "F:5: client_id: byte 5: the character U+000D cannot be part of a client id"},
		"blank in id":      {entry(1, "cafe bar", "cafe"), nil, "F:2: client_id: byte 5: the character U+0020"},
		"secret with BOM":  {entry(1, "cafe", "bom"), nil, "bom: line 1, byte 1: it begins with a byte order mark"},
		"unknown anchor":   {entry(1, "cafe", "*hush-cafe"), nil, "F: not YAML: unknown anchor"},
		"two documents":    {cafe(1) + "---\n" + cafe(2), nil, "F:4: a second YAML document"},
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, dir, "credentials.yaml", tc.text)
			got, err := readFile(file)
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
	if _, err := readFile(filepath.Join(dir, "absent.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func entryOf(id string) string { return strings.Replace(entry(1, "cafe", "cafe"), project(1), id, 1) }

// office is a Chat API with a client for each of the projects 0, 1 and 2.
func office(t *testing.T) *chatapitest.Server {
	api := chatapitest.Start(chatapitest.Config{
		Credentials: map[string]string{"client-0": "hush-0", "client-1": "hush-1", "client-2": "hush-2"},
		Projects:    map[string]string{project(0): "client-0", project(1): "client-1", project(2): "client-2"},
	})
	t.Cleanup(api.Close)
	return api
}

// sends makes a call for a project and returns the kind of failure, "" for none.
func sends(t *testing.T, c *Clients, n int) chatapi.Kind {
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

	c, err := New(addresses, file, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Send(t.Context(), chatapi.Notification{ProjectID: project(7)})
	want := &chatapi.Error{Kind: chatapi.Credential, Unsent: true, Detail: "no credential for project " + project(7) + ": add it to the credentials file"}
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
	if c, err = New(withRest, file, ""); err != nil {
		t.Fatal(err)
	}
	if sends(t, c, 2) != "" || sends(t, c, 0) != "" || sends(t, c, 1) != chatapi.Credential {
		t.Error("the credential for all others is not for the projects that the file does not name, or for others too")
	}
	if c, err = New(withRest, "", ""); err != nil || sends(t, c, 2) != "" || sends(t, c, 0) != chatapi.Credential {
		t.Errorf("without a file: %v", err)
	}
	if _, err := New(addresses, "", ""); !errors.Is(err, ErrNone) {
		t.Errorf("neither: %v", err)
	}
	var inFile *FileError
	if _, err := New(addresses, filepath.Join(dir, "absent"), ""); !errors.As(err, &inFile) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
	if _, err := New(chatapi.Config{URL: "http://example.com", ClientID: "c", ClientSecret: "s"}, file, ""); err == nil || errors.As(err, &inFile) {
		t.Errorf("a wrong address: %v", err)
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
	c, err := New(chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL()}, file, "")
	if err != nil {
		t.Fatal(err)
	}
	reload := func(want Reloaded) {
		t.Helper()
		if got, failures := c.reload(); failures != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("reload: %+v, %v; want %+v", got, failures, want)
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
	reload(Reloaded{})
	link("v2")
	reload(Reloaded{Changed: []string{project(1)}})
	kinds("", "", no)
	write(t, dir, "c.yaml", two+entry(2, "client-2", "s2"))
	reload(Reloaded{Added: []string{project(2)}})
	kinds("", "", "")
	if n := api.Counts().TokensIssued; n != 3 {
		t.Errorf("%d tokens for three clients: a reload lost some", n)
	}
	write(t, dir, "c.yaml", "# moved projects and clients about\n"+entry(1, "client-1", "s1")+entry(2, "client-0", "s0"))
	reload(Reloaded{Removed: []string{project(0)}, Changed: []string{project(2)}})
	kinds(no, "", no)
	if n := api.Counts().TokensIssued; n != 3 {
		t.Errorf("%d tokens: a credential that stayed lost its token", n)
	}
	write(t, dir, "c.yaml", "")
	if _, failures := c.reload(); failures == nil {
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
	c, err := New(chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL()}, file, "")
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
		if _, failures := c.reload(); failures != nil {
			t.Fatal(failures)
		}
	}
	callers.Wait()
}

// next waits for an event and demands that it is of type E.
func next[E Event](t *testing.T, events <-chan Event) E {
	t.Helper()
	select {
	case e := <-events:
		got, ok := e.(E)
		if !ok {
			t.Fatalf("event %T %+v, want a %T", e, e, got)
		}
		if strings.Contains(fmt.Sprintf("%+v", e), "hush") {
			t.Errorf("the event holds a secret: %+v", e)
		}
		return got
	case <-time.After(30 * time.Second):
		t.Fatal("no event")
		panic("unreachable")
	}
}

func TestCredentialsWatch(t *testing.T) {
	t.Parallel() // it waits for the polls
	api, dir := office(t), t.TempDir()
	write(t, dir, "s0", "hush-0")
	write(t, dir, "s1", "hush-x")
	good := entry(0, "client-0", "s0") + entry(1, "client-1", "s1")
	file := write(t, dir, "c.yaml", good)
	c, err := New(chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL()}, file, "")
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan Event, 10)
	again := make(chan os.Signal, 1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		report := func(e Event) { events <- e }
		c.Check(ctx, report)
		c.Watch(ctx, again, report)
	}()
	reloaded := func(want Reloaded) {
		t.Helper()
		if got := next[Reloaded](t, events); !reflect.DeepEqual(got, want) {
			t.Errorf("reloaded %+v, want %+v", got, want)
		}
	}
	noToken := func() {
		t.Helper()
		e := next[NoToken](t, events)
		if e.Project != project(1) || e.ClientID != "client-1" || chatapi.KindOf(e.Err) != chatapi.Credential {
			t.Errorf("no token: %+v", e)
		}
	}
	noToken()

	write(t, dir, "s1", "hush-1") // the poll sees it
	reloaded(Reloaded{Changed: []string{project(1)}})
	if sends(t, c, 1) != "" {
		t.Error("the new secret is not used")
	}
	write(t, dir, "c.yaml", good+"oops")
	next[ReloadFailed](t, events)
	again <- syscall.SIGHUP // whoever asks is answered
	next[ReloadFailed](t, events)
	again <- syscall.SIGHUP
	next[ReloadFailed](t, events)
	if sends(t, c, 0) != "" || sends(t, c, 1) != "" {
		t.Error("the old credentials are not used any more")
	}
	write(t, dir, "c.yaml", good) // it reports that the trouble is over, though nothing changed
	reloaded(Reloaded{})
	again <- syscall.SIGHUP
	reloaded(Reloaded{})
	write(t, dir, "s1", "hush-y") // what does not work is reported at once
	reloaded(Reloaded{Changed: []string{project(1)}})
	noToken()
	stop()
	<-ended
	if len(events) > 0 {
		t.Errorf("one more event: %+v", <-events)
	}
}

func TestWatchWithoutFile(t *testing.T) {
	api := office(t)
	c, err := New(chatapi.Config{URL: api.ChatURL(), TokenURL: api.TokenURL(), ClientID: "client-0", ClientSecret: "hush-x"}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	events, again := make(chan Event, 10), make(chan os.Signal, 1)
	report := func(e Event) { events <- e }
	c.Check(t.Context(), report)
	if e := next[NoToken](t, events); e.Project != "" || e.ClientID != "" {
		t.Errorf("no token: %+v", e)
	}
	go c.Watch(t.Context(), again, report)
	again <- syscall.SIGHUP
	next[NoFile](t, events)
}

// When the token endpoint itself fails, it is asked once only.
func TestCheckStopsEarly(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "s", "hush")
	file := write(t, dir, "c.yaml", entry(0, "client-0", "s")+entry(1, "client-1", "s"))
	c, err := New(chatapi.Config{URL: "http://127.0.0.1:1/chat", TokenURL: "http://127.0.0.1:1/token"}, file, "")
	if err != nil {
		t.Fatal(err)
	}
	var events []Event
	c.Check(t.Context(), func(e Event) { events = append(events, e) })
	if len(events) != 1 {
		t.Errorf("reported %+v", events)
	}
}
