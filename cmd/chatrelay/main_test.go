package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// The test binary is chatrelay, too, when it is called by that name, and a nats-server.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"chatrelay": main, "nats-broker": natsMain})
}

// suite is the tests with what surrounds them.
type suite struct{ *testing.M }

// Run runs the tests.
func (s suite) Run() int {
	// Under the race detector every process that the tests start would wait for a second before it ends.
	err := os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	if err == nil {
		suiteDir, err = os.MkdirTemp("", "chatrelay-tests-")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(suiteDir)
	return s.M.Run()
}

// suiteDir is for what the tests have in common.
var suiteDir string

// TestScripts runs the program as users do; see testdata. Every script has a nats-server of its
// own, which CHATRELAY_NATS_URL names.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			n := &natsServer{cfg: broker.Config{Dir: env.WorkDir + "/.nats"}}
			if err := n.start(); err != nil {
				return err
			}
			env.Defer(n.kill)
			env.Setenv("CHATRELAY_NATS_URL", n.url)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": scriptCode,
			"bury": scriptBury,
		},
	})
}

// scriptCode runs chatrelay and demands an exit code: code 2 chatrelay publish. Its output is put
// into the files stdout.txt and stderr.txt.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [args...]")
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "HOME", "GORACE", "CHATRELAY_NATS_URL"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	ts.Check(os.WriteFile(ts.MkAbs("stdout.txt"), out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("stderr.txt"), errs.Bytes(), 0o600))
	ts.Logf("[stdout]\n%s[stderr]\n%s", &out, &errs)
	if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// scriptBury makes dead letters: bury project reason job recipient...
func scriptBury(ts *testscript.TestScript, _ bool, args []string) {
	q, err := queue.Connect(context.Background(), queue.Config{URL: ts.Getenv("CHATRELAY_NATS_URL")})
	ts.Check(err)
	defer q.Close()
	l := queue.DeadLetter{
		JobID: args[2], ProjectID: args[0], Priority: queue.Normal, Message: "text of " + args[2], WovenIDs: args[3:],
		Reason: queue.Reason(args[1]), Failures: []queue.Failure{{WovenIDs: args[3:], Detail: "why " + args[2], Status: 200}},
		History: queue.History{Attempts: 1, PublishedAt: time.Now().Add(-time.Hour)}, FailedAt: time.Now(), Origin: "normal-" + args[2],
	}
	if l.Reason == queue.Invalid {
		l.ProjectID, l.WovenIDs, l.Raw = queue.UnknownProject, nil, []byte("raw \x1b[31mbytes")
	}
	_, err = q.Bury(context.Background(), []queue.DeadLetter{l})
	ts.Check(err)
}

// Every command says what it does, with an example, and names its flags as all others do.
func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	a := &app{}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Name() == "completion" || c.Name() == "help" {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s: no help or no example", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Example, "\n") {
			if !strings.Contains(line, "chatrelay ") {
				t.Errorf("%s: example %q does not name the program", c.CommandPath(), line)
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(a.rootCommand())
}
