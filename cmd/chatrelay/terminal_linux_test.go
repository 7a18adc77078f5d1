package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

// harm is what must not reach a terminal, and kept what must.
var (
	harm = []string{"\x1b", "\u009b", "\u0085", "\x7f", "\u202e", "\u2066", "\u200f", "\u061c", "\u200b", "\ufeff", "\U000E0041", "\x9b31m"}
	kept = "žluť 👩\u200d🚀 שלום مرحبا می\u200cخواهم"
)

// What came from elsewhere, in each way to look at it, does nothing to the terminal. What is piped to a
// program is as it was.
func TestForeignTextOnATerminal(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	foul := kept + strings.Join(harm[:len(harm)-1], "x")
	l := queue.DeadLetter{
		JobID: "j" + foul, ProjectID: project(1), Priority: queue.Normal, Message: foul, WovenIDs: []string{foul},
		Reason: queue.Rejected, Failures: []queue.Failure{{WovenIDs: []string{foul}, Detail: foul}}, FailedAt: time.Now(), Origin: "normal-1",
	}
	raw := l
	raw.ProjectID, raw.Reason, raw.Origin, raw.Raw = queue.UnknownProject, queue.Invalid, "normal-2", []byte(foul+"\x9b31m")
	if _, err := s.q.Bury(t.Context(), []queue.DeadLetter{l, raw}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "jobs\x1b\u202e.jsonl")
	line := `{"project_id":"` + foul + `"}` + "\n" + `{"colour` + foul + `":1}` + "\n" + foul + "\n"
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, err := s.q.Announce(map[string]string{"host": foul, "pid": foul, "started": foul}, func() queue.WorkerState {
		return queue.WorkerState{Gates: []queue.GateStatus{{ProjectID: foul, Kind: foul}}, CallSizes: []queue.CallSize{{ProjectID: foul, Recipients: 9}}}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	env := []string{"CHATRELAY_NATS_URL=" + s.url, "TERM=dumb"} // no colours, which are made of what is looked for
	for _, c := range []struct {
		args string
		code int
	}{
		{"dead list", 0}, {"dead list -o json", 0}, {"dead show 1", 0}, {"dead show 1 -o json", 0}, {"dead show 2", 0}, {"status", 0},
		{"publish " + file, 1}, {"publish -o json " + file, 1}, {"publish absent\x1b\u202e", 2}, {"dead list --project " + foul, 2},
		{"dead drop --all-projects --yes", 0},
	} {
		args := strings.Split(c.args, " ")
		if strings.Contains(c.args, foul) {
			args = []string{"dead", "list", "--project", foul}
		}
		shown, code := onTerminal(t, env, args...)
		if code != c.code {
			t.Errorf("%.40q ended with %d, want %d: %q", c.args, code, c.code, shown)
		}
		for _, h := range harm {
			if strings.Contains(shown, h) {
				t.Errorf("%.40q showed %q: %q", c.args, h, shown)
			}
		}
		if !utf8.ValidString(shown) {
			t.Errorf("%.40q showed what is not UTF-8: %q", c.args, shown)
		}
		if !strings.Contains(c.args, "-o json") || strings.HasPrefix(c.args, "publish") {
			continue
		}
		var got queue.DeadLetter
		if err := json.Unmarshal([]byte(strings.SplitN(shown, "\r\n", 2)[0]), &got); err != nil || got.Message != foul {
			t.Errorf("%.40q: not the JSON of the letter (%v): %q", c.args, err, shown)
		}
		if !strings.Contains(shown, kept) {
			t.Errorf("%.40q hides what is harmless: %q", c.args, shown)
		}
	}
	if _, err := s.q.Bury(t.Context(), []queue.DeadLetter{l}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "chatrelay", "dead", "list", "-o", "json")
	cmd.Env = append(os.Environ(), env...)
	if piped, err := cmd.Output(); err != nil || !strings.Contains(string(piped), "\u202e") {
		t.Errorf("piped: %q, %v", piped, err)
	}
}

// The log is one of the ways: what the API says stands in it, in both formats.
func TestForeignTextInTheLog(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	s.api.Script(chatapitest.Fault{Times: -1, Status: 503, Body: kept + strings.Join(harm, "x")})
	for _, format := range []string{"console", "json"} {
		load{[]queue.Job{{ID: format, ProjectID: project(1), Message: "m", WovenIDs: []string{"w"}}}}.publish(s)
		cmd, shown := startOnTerminal(t, append(s.env(), "TERM=dumb"), "worker", "--log-format", format, "--log-level", "debug")
		s.eventually(patience, "a line about the API", func() bool { return strings.Contains(shown.String(), "503") })
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		for _, h := range harm {
			if strings.Contains(shown.String(), h) {
				t.Errorf("%s: %q in %q", format, h, shown)
			}
		}
		if !strings.Contains(shown.String(), "žluť") {
			t.Errorf("%s: the API's words are not in %q", format, shown)
		}
	}
}

// The log of a worker has them too.
func TestColoursOfAWorker(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	cmd, shown := startOnTerminal(t, s.env(), "worker", "--log-format", "auto")
	s.eventually(patience, "a line of the log", func() bool { return strings.Contains(shown.String(), "worker started") })
	if !strings.Contains(shown.String(), "\x1b[") {
		t.Errorf("it shows %q", shown.String())
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	<-shown.ended
}

// There are colours on a terminal, unless it is a dumb one or they are not wanted.
func TestColours(t *testing.T) {
	t.Parallel()
	for env, coloured := range map[string]bool{"TERM=xterm": true, "TERM=dumb": false, "NO_COLOR=1": false} {
		shown, code := onTerminal(t, []string{env}, "dev", "--once", "--log-level", "info", "--nats-port", "0")
		if strings.Contains(shown, "\x1b[") != coloured || code != 0 {
			t.Errorf("%s: ended with %d, showed %q", env, code, shown)
		}
	}
}
