//go:build !unix

package dev

// lockDir does nothing where there are no advisory locks.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }
