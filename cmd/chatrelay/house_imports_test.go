package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A rule forbids a room (a folder; all: every one but those of through) to import something, by itself
// or by way of what it imports. Tests may import what they like.
//
// A folder of this module is named by its path in it, anything else by its import path; both stand for
// what is beneath them as well.
type rule struct {
	room       string
	mustNot    string
	through    []string // where the way may lead: what is reached through these is not followed
	onlyItself bool     // what is imported imports it everywhere: only the room's own imports count
	reason     string
}

const (
	module = "github.com/chatrelay/chatrelay"
	all    = "*"

	natsLib     = "github.com/nats-io"
	serverLib   = "github.com/nats-io/nats-server"
	cobraLib    = "github.com/spf13" // with pflag
	zerologLib  = "github.com/rs/zerolog"
	promLib     = "github.com/prometheus"
	oauthLib    = "golang.org/x/oauth2"
	progressLib = "github.com/schollz/progressbar"
	otelLib     = "go.opentelemetry.io"
)

var rules = []rule{
	{room: "queue", mustNot: module, reason: "producers import queue: it must bring nothing else of ours along"},
	{room: "queue", mustNot: "net/http", through: []string{natsLib}, reason: "only chatapi knows HTTP"},
	{room: "queue", mustNot: otelLib, reason: "producers import queue: it must be small"},
	{room: "queue", mustNot: cobraLib, reason: "a library knows no flag and no command"},
	{room: "queue", mustNot: zerologLib, reason: "libraries return errors and do not log"},
	{room: "queue/broker", mustNot: module, reason: "producers' tests import it: it must bring nothing else of ours along"},

	{room: "chatapi", mustNot: module, reason: "one attempt at one call needs nothing else of ours"},
	{room: "chatapi", mustNot: natsLib, reason: "only queue knows NATS"},
	{room: "chatapi", mustNot: cobraLib, reason: "a library knows no flag and no command"},
	{room: "chatapi", mustNot: zerologLib, reason: "libraries return errors and do not log"},
	{room: "chatapi/credentials", mustNot: natsLib, reason: "only queue knows NATS"},
	{room: "chatapi/credentials", mustNot: cobraLib, reason: "a library knows no flag and no command"},
	{room: "chatapi/credentials", mustNot: zerologLib, reason: "it reports to a callback and does not log"},
	{room: "chatapi/chatapitest", mustNot: "testing", reason: "dev and bench use it outside of tests"},
	{room: "chatapi/chatapitest", mustNot: module, reason: "what is compared with the documented API must not share its mistakes with chatapi"},

	{room: "worker", mustNot: natsLib, through: []string{"queue"}, reason: "only queue knows NATS"},
	{room: "worker", mustNot: "net/http", through: []string{"queue", "chatapi"}, reason: "only chatapi knows HTTP"},
	{room: "worker", mustNot: oauthLib, through: []string{"chatapi"}, reason: "only chatapi knows tokens"},
	{room: "worker", mustNot: zerologLib, reason: "the core reports to a hook and does not log"},
	{room: "worker", mustNot: promLib, reason: "the core reports to a hook and counts nothing"},
	{room: "worker", mustNot: otelLib, reason: "the core reports to a hook and traces nothing"},
	{room: "worker", mustNot: "log", onlyItself: true, reason: "the core reports to a hook and does not log"},
	{room: "worker", mustNot: "expvar", onlyItself: true, reason: "the core reports to a hook and counts nothing"},
	{room: "worker", mustNot: "sync", onlyItself: true, reason: "one goroutine owns what changes: the core needs no lock"},

	{room: "ops", mustNot: natsLib, through: []string{"queue"}, reason: "only queue knows NATS"},
	{room: "ops", mustNot: "net/http", through: []string{"queue", "chatapi"}, reason: "a command line and a page stand on it: it serves and asks nothing itself"},
	{room: "ops", mustNot: "worker", reason: "who is on call works beside the workers, not in one"},
	{room: "ops", mustNot: cobraLib, reason: "a library knows no flag and no command"},
	{room: "ops", mustNot: "cmd", reason: "it returns values; a command or a page shows them"},
	{room: "ops", mustNot: zerologLib, reason: "it returns values and does not log"},
	{room: "ops", mustNot: progressLib, reason: "it reports progress to a callback and does not print"},
	{room: "ops", mustNot: "os", onlyItself: true, reason: "without it nothing can be opened or printed to"},
	{room: "ops", mustNot: "log", onlyItself: true, reason: "it returns values and does not log"},

	{room: "cmd/chatrelay/daemon", mustNot: natsLib, through: []string{"queue"}, reason: "only queue knows NATS"},
	{room: "cmd/chatrelay/daemon", mustNot: cobraLib, reason: "it is configured by a value; commands know flags"},
	{room: "cmd/chatrelay/daemon", mustNot: "ops", reason: "a worker does not act as an operator"},
	{room: "cmd/chatrelay/bench", mustNot: "worker", reason: "what is measured runs in a process of its own"},
	{room: "cmd/chatrelay/bench", mustNot: "cmd/chatrelay/daemon", reason: "what is measured runs in a process of its own"},
	{room: "cmd/chatrelay/bench", mustNot: "ops", reason: "a measurement is nobody's operation"},
	{room: "cmd/chatrelay/bench", mustNot: cobraLib, reason: "it is configured by a value; commands know flags"},
	{room: "cmd/chatrelay/bench/document", mustNot: "worker", reason: "it writes from records and runs nothing"},
	{room: "cmd/chatrelay/bench/bareloop", mustNot: module, reason: "what ours is compared with must not be slow for the same reasons"},
	{room: "cmd/chatrelay/dev", mustNot: "ops", reason: "it shows the way of jobs, not that of operators"},
	{room: "cmd/chatrelay/dev", mustNot: cobraLib, reason: "it is configured by a value; commands know flags"},
	{room: "cmd/chatrelay/lines", mustNot: cobraLib, reason: "it reads what it is given; commands know flags"},
	{room: "cmd/chatrelay/term", mustNot: module, reason: "it prints whatever it is given"},

	{room: all, mustNot: natsLib, through: []string{"queue", "cmd/chatrelay/bench/bareloop"}, reason: "only queue knows NATS, and the bare loop that it is compared with"},
	{room: all, mustNot: oauthLib, through: []string{"chatapi"}, reason: "only chatapi knows tokens"},
	{room: all, mustNot: serverLib, through: []string{"queue/broker"}, reason: "a nats-server is run by the broker only"},
	{room: all, mustNot: "queue/broker", through: []string{"cmd/chatrelay/dev", "cmd/chatrelay/bench"}, reason: "only dev, bench and tests run a nats-server; in production it runs on its own"},
}

// graph holds what each package imports, without tests.
type graph map[string][]string

func TestImports(t *testing.T) {
	g := moduleGraph(t)
	for _, r := range rules {
		for _, name := range append(r.through, r.room, r.mustNot) {
			if p := fullPath(name); name != all && strings.HasPrefix(p, module) && p != module && p != fullPath("cmd") && g[p] == nil {
				t.Errorf("%s must not reach %s: there is no package %s", r.room, r.mustNot, name)
			}
		}
		for _, path := range g.breaches(r) {
			t.Errorf("%s must not reach %s: %s:\n\t%s", r.room, r.mustNot, r.reason, strings.Join(path, "\n\t→ "))
		}
	}
}

// moduleGraph asks the go command.
func moduleGraph(t *testing.T) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports", "./...")
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	g := graph{}
	for packages := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g[p.ImportPath] = append([]string{}, p.Imports...) // not nil, though it may be empty
	}
}

// fullPath is the import path that a rule means.
func fullPath(name string) string {
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains([]string{"queue", "chatapi", "worker", "ops", "cmd"}, first) {
		return module + "/" + name
	}
	return name
}

func beneath(pkg, name string) bool {
	path := fullPath(name)
	return pkg == path || strings.HasPrefix(pkg, path+"/")
}

// breaches are ways, one for each package concerned, on which a rule is broken.
func (g graph) breaches(r rule) (paths [][]string) {
	var rooms []string
	for pkg := range g {
		passable := slices.ContainsFunc(r.through, func(t string) bool { return beneath(pkg, t) })
		if r.room == all && strings.HasPrefix(pkg, module+"/") && !passable && !beneath(pkg, r.mustNot) || roomOf(pkg) == r.room {
			rooms = append(rooms, pkg)
		}
	}
	slices.Sort(rooms)
	for _, room := range rooms {
		if path := g.way(room, r); path != nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// roomOf is the nearest folder with rules in which a package is: one without rules of its own is bound
// by those of the room that it is in.
func roomOf(pkg string) (room string) {
	for _, r := range rules {
		if r.room != all && beneath(pkg, r.room) && len(r.room) > len(room) {
			room = r.room
		}
	}
	return room
}

// way is the shortest way from a room to what it must not reach; nil if there is none.
func (g graph) way(room string, r rule) []string {
	from := map[string]string{room: ""}
	for next := []string{room}; len(next) > 0; next = next[1:] {
		pkg := next[0]
		for _, imported := range g[pkg] {
			if _, seen := from[imported]; seen {
				continue
			}
			from[imported] = pkg
			if beneath(imported, r.mustNot) {
				var path []string
				for p := imported; p != ""; p = from[p] {
					path = append(path, p)
				}
				slices.Reverse(path)
				return path
			}
			if !r.onlyItself && !slices.ContainsFunc(r.through, func(t string) bool { return beneath(imported, t) }) {
				next = append(next, imported)
			}
		}
	}
	return nil
}

// Broken rules are seen, and the ways on which they are.
func TestImportsAreFollowed(t *testing.T) {
	in := func(name string) string { return module + "/" + name }
	g := graph{
		in("worker/pace"):            {"net/http"},
		in("worker"):                 {"sync", in("queue"), in("chatapi"), "example.com/helper"},
		in("queue"):                  {"github.com/nats-io/nats.go", "sync"},
		in("queue/broker"):           {"github.com/nats-io/nats-server/v2/server"},
		in("chatapi"):                {"net/http"},
		in("ops"):                    {in("queue"), "net/httpx"},
		"github.com/nats-io/nats.go": {"net/http", "example.com/helper"},
		"example.com/helper":         {"example.com/log"},
		"example.com/log":            {"github.com/rs/zerolog/internal"},
		"net/http":                   {"sync", "net/http/internal"},
	}
	for _, c := range []struct {
		rule rule
		want []string // the ways, in short
	}{
		{rule{room: "worker", mustNot: natsLib}, []string{"worker queue nats.go"}},
		{rule{room: "worker", mustNot: "net/http", through: []string{"queue"}}, []string{"worker chatapi http", "pace http"}},
		{rule{room: "worker", mustNot: zerologLib, through: []string{"queue"}}, []string{"worker helper log internal"}},
		{rule{room: "worker", mustNot: "sync", onlyItself: true}, []string{"worker sync"}},
		{rule{room: "worker", mustNot: module}, []string{"worker queue"}},
		{rule{room: "ops", mustNot: "net/http"}, []string{"ops queue nats.go http"}},
		{rule{room: "chatapi", mustNot: "net/http/internal"}, []string{"chatapi http internal"}},
		{rule{room: all, mustNot: natsLib, through: []string{"queue/broker"}}, []string{"ops queue nats.go", "queue nats.go", "worker queue nats.go"}},
	} {
		var got []string
		for _, path := range g.breaches(c.rule) {
			var names []string
			for _, p := range path {
				names = append(names, p[strings.LastIndex(p, "/")+1:])
			}
			got = append(got, strings.Join(names, " "))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s to %s: found %q, want %q", c.rule.room, c.rule.mustNot, got, c.want)
		}
	}
	for _, r := range []rule{
		{room: "worker", mustNot: natsLib, through: []string{"queue"}}, {room: "chatapi", mustNot: "sync", onlyItself: true}, {room: "ops", mustNot: "net/http", through: []string{"queue"}},
		{room: all, mustNot: natsLib, through: []string{"queue"}}, {room: all, mustNot: serverLib, through: []string{"queue/broker"}},
	} {
		if paths := g.breaches(r); paths != nil {
			t.Errorf("%s to %s: kept, but found %q", r.room, r.mustNot, paths)
		}
	}
}
