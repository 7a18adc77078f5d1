//go:build unix

package dev

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir makes this process the only one that uses a directory, until unlock: two servers on the
// same streams would destroy them.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another chatrelay dev uses %s; end that one, or name another directory", dir)
	}
	return func() { _ = f.Close() }, nil // it keeps the file from being closed, and the lock with it
}
