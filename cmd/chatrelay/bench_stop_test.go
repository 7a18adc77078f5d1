package main

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

// partsOf are the processes of a measurement that live: those that have its directory in their environment.
func partsOf(t *testing.T, temp string) (pids []int) {
	t.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		env, err := p.Environ() // of one that has ended there is none
		if err == nil && slices.Contains(env, "TMPDIR="+temp) {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// Whenever it is interrupted, no process is left, no file, and no job in a NATS that was there.
func TestBenchLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	bare := []string{"W2", "--jobs", "500", "--latency", "10s", "--concurrency", "1", "--linger", "0"} // it goes first
	long := append(slices.Clip(bare), "--bare=false")
	for _, c := range []struct {
		name   string
		args   []string
		parts  int // processes that there are by then, with itself; 0: a NATS is there, and a call in flight
		signal syscall.Signal
		all    bool // get it, as from a terminal
		code   int
	}{
		{"SIGTERM when all have started", long, 4, syscall.SIGTERM, false, exitFailed},
		{"SIGTERM while the bare loop works", bare, 0, syscall.SIGTERM, false, exitFailed},
		{"SIGINT from a terminal when all have started", long, 4, syscall.SIGINT, true, exitFailed},
		{"SIGTERM beside several workers", append(slices.Clip(long), "--replicas", "3"), 6, syscall.SIGTERM, false, exitFailed},
		{"SIGINT while it starts", long, 2, syscall.SIGINT, false, exitFailed},
		{"SIGTERM while it starts", long, 3, syscall.SIGTERM, false, exitFailed},
		{"SIGTERM while it publishes", append([]string{"L"}, long[3:]...), 0, syscall.SIGTERM, false, exitFailed},
		{"SIGTERM with a NATS that was there", long, 0, syscall.SIGTERM, false, exitFailed},
		// Then nobody is there to stop the others: they must notice. Files and jobs stay.
		{"SIGKILL when all have started", long, 4, syscall.SIGKILL, false, -1},
		{"SIGKILL with a NATS that was there", long, 0, syscall.SIGKILL, false, -1},
		{"SIGKILL while the bare loop works", bare, 0, syscall.SIGKILL, false, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.args
			var s *system
			if c.parts == 0 {
				s = startSystem(t, chatapitest.Config{})
				args = append(slices.Clip(args), "--nats-url", s.url)
			}
			cmd, temp := benchProgram(t, args...)
			errs := &lockedBuffer{}
			cmd.Stderr = errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				_ = cmd.Wait() // its code is what counts
				close(ended)
			}()
			var pids []int
			t.Cleanup(func() { // only a failing test leaves some
				for _, pid := range partsOf(t, temp) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			})
			eventually := func(what string, done func() bool) {
				t.Helper()
				for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("waited in vain for %s; processes %v\n%s", what, partsOf(t, temp), errs)
					}
				}
			}
			eventually("its parts", func() bool {
				if s != nil {
					st, err := s.q.Status(t.Context(), time.Millisecond)
					return err == nil && st.Held > 0
				}
				pids = partsOf(t, temp)
				return len(pids) >= c.parts
			})
			if !c.all {
				pids = []int{cmd.Process.Pid}
			}
			for _, pid := range pids {
				_ = syscall.Kill(pid, c.signal) // it may have ended
			}
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Fatal("it does not end")
			}
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("ended with %d, want %d\n%s", code, c.code, errs)
			}
			if c.signal == syscall.SIGKILL {
				eventually("the end of all parts", func() bool { return len(partsOf(t, temp)) == 0 })
				return
			}
			if left := partsOf(t, temp); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
			leftNothing(t, temp)
			if s == nil {
				return
			}
			if st, err := s.q.Status(t.Context(), time.Millisecond); err != nil || st.Queued+st.Due+st.Scheduled != 0 || st.Held != 0 {
				t.Errorf("of its jobs there are left: %+v (%v)", st, err)
			}
		})
	}
}
