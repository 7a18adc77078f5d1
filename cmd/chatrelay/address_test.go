package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// No command shows a part of a NATS login: neither of an address that it cannot read, which is wrong
// configuration, nor of one where nobody answers.
func TestNoCommandShowsTheNATSLogin(t *testing.T) {
	t.Parallel()
	const id = "0f8fad5b-d9cb-469f-a165-70867728950e"
	commands := []string{
		"init", "status", "status -o json", "dead list", "dead show 1", "dead replay --all-projects --yes", "dead drop --all-projects --yes",
		"publish --project " + id + " --message m --to w", "publish -", "bench W1 --jobs 10 --pairs 1",
		"worker --client-id c --http-addr 127.0.0.1:0 --log-level debug --log-format json", "worker --client-id c --http-addr 127.0.0.1:0 --log-format console",
	}
	for _, c := range []struct {
		address string
		code    int
	}{
		{"nats://svc:hush%21%hush@127.0.0.1:1", 2}, {"nats://svc:hush/hush@127.0.0.1:1", 2}, {"nats://svc:hush hush@127.0.0.1:1", 2},
		{"nats://svc:hush#hush@127.0.0.1:1", 2}, {"svc:1234/hush@127.0.0.1:1", 2}, {"nats://127.0.0.1:1,nats://svc:hush,hush@127.0.0.1:1", 2},
		{"nats://svc:hush@127.0.0.1:1", 1}, {"nats://hush@127.0.0.1:1,nats://127.0.0.1:2", 1},
	} {
		for i, command := range commands {
			if c.code == 1 && strings.HasPrefix(command, "worker") {
				continue // it waits for NATS
			}
			args := strings.Split(command, " ")
			cmd := exec.CommandContext(t.Context(), "chatrelay", args...)
			cmd.Env = append(os.Environ(), "CHATRELAY_CLIENT_SECRET=s")
			if i%2 == 0 {
				cmd.Args = append(cmd.Args, "--nats-url", c.address)
			} else {
				cmd.Env = append(cmd.Env, "CHATRELAY_NATS_URL="+c.address)
			}
			out, _ := cmd.CombinedOutput() // its exit code says how it ended
			text := string(out)
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("%s at %s ended with %d, want %d: %s", command, c.address, code, c.code, text)
			}
			if strings.Contains(text, "hush") || strings.Contains(text, "svc") || strings.Contains(text, "1234") {
				t.Errorf("%s at %s shows it: %s", command, c.address, text)
			}
			if c.code == 2 && !strings.Contains(text, "malformed NATS address") || !strings.Contains(text, "--nats-url") {
				t.Errorf("%s at %s does not say what to do: %s", command, c.address, text)
			}
		}
	}
}
