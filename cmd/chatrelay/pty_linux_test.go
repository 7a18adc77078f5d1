package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// onTerminal runs the program on a terminal of its own, and returns all that it showed there, and its
// exit code.
func onTerminal(t *testing.T, env []string, args ...string) (shown string, code int) {
	t.Helper()
	cmd, text := startOnTerminal(t, env, args...)
	_ = cmd.Wait() // its exit code is what matters
	<-text.ended
	return text.String(), cmd.ProcessState.ExitCode()
}

// screen is what was shown on a terminal.
type screen struct {
	lockedBuffer
	ended chan struct{} // closed when no more will come
}

// startOnTerminal starts the program on a terminal of its own, with an environment that is added to that
// of the tests.
func startOnTerminal(t *testing.T, env []string, args ...string) (*exec.Cmd, *screen) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminal: ", err)
	}
	fd := int(master.Fd())
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	n, err2 := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "chatrelay", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(append(os.Environ(), "TERM=xterm", "NO_COLOR="), env...)
	err = cmd.Start()
	_ = slave.Close() // the program has it
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{ended: make(chan struct{})}
	go func() {
		_, _ = io.Copy(s, master) // until the program has ended, by EIO
		_ = master.Close()
		close(s.ended)
	}()
	return cmd, s
}
