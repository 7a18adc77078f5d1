package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// child is a process of this very program that takes part in a measurement.
type child struct {
	name  string
	log   string // file with what it says on stderr
	cmd   *exec.Cmd
	lines *bufio.Reader // what it says on stdout
	ended chan struct{}
	err   error // how it ended
}

// startChild starts the program with other arguments. It ends with ctx, or when its standard input
// does, which is when this process is gone.
func startChild(ctx context.Context, dir, name string, env []string, args ...string) (*child, error) {
	self, err := exec.LookPath(os.Args[0])
	if err != nil {
		if self, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	c := &child{name: name, log: filepath.Join(dir, name+".log"), cmd: exec.CommandContext(ctx, self, args...), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = 10 * time.Second
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd.Stderr = log
	// Pipes of our own: Wait would close those of exec before all was read.
	in, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	outRead, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c.cmd.Stdin, c.cmd.Stdout, c.lines = in, out, bufio.NewReader(outRead)
	if err := c.cmd.Start(); err != nil {
		_, _ = inWrite.Close(), outRead.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		_, _ = inWrite.Close(), outRead.Close()
		close(c.ended)
	}()
	return c, nil
}

// ready reads the line of JSON by which a child says that it is.
func (c *child) ready(into any) error {
	line, err := c.lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, into)
	}
	if err != nil {
		return fmt.Errorf("%s did not start: %w%s", c.name, err, c.said())
	}
	return nil
}

// stop asks the child to end, and waits for it.
func (c *child) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
	if c.err != nil {
		return fmt.Errorf("%s ended: %w%s", c.name, c.err, c.said())
	}
	return nil
}

// said is the end of what the child said on stderr.
func (c *child) said() string {
	text, err := os.ReadFile(c.log)
	if err != nil || len(text) == 0 {
		return ""
	}
	return "; it said:\n" + string(text[max(0, len(text)-2000):])
}

// usage is how long the child has kept processors busy, in seconds, its largest resident set and the
// present one, in bytes. All are zero where there is no /proc.
func (c *child) usage() (cpu float64, peak, now uint64) {
	proc, err := procfs.NewProc(c.cmd.Process.Pid)
	if err != nil {
		return 0, 0, 0
	}
	if stat, err := proc.Stat(); err == nil {
		cpu = stat.CPUTime()
	}
	if status, err := proc.NewStatus(); err == nil {
		peak, now = status.VmHWM, status.VmRSS
	}
	return cpu, peak, now
}
