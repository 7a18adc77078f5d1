package credentials

import "slices"

// Event is what [Clients.Watch] and [Clients.Check] report: a [Reloaded], [ReloadFailed], [NoFile]
// or [NoToken].
type Event interface{ event() }

// Reloaded says that the files were read again, and what changed: ids of projects, sorted.
type Reloaded struct {
	Added, Removed, Changed []string
	// Rest is true when the credential for all projects that the credentials file does not name has
	// another secret.
	Rest bool
}

// Projects lists all projects that have another credential now, or none any more, sorted.
func (r Reloaded) Projects() []string {
	return slices.Sorted(slices.Values(slices.Concat(r.Added, r.Removed, r.Changed)))
}

// ReloadFailed says that the credentials file or one that it names cannot be used, or the secret file
// of the credential for all other projects. What was read of it before stays in use.
type ReloadFailed struct {
	File string
	Err  error
}

// NoFile says that a request to read the files again was in vain: there is none.
type NoFile struct{}

// NoToken says that a credential gets no access token, so that jobs of its projects will wait.
type NoToken struct {
	// Project is one of those that use the credential. Empty: it is the one for all projects that
	// the file does not name.
	Project  string
	ClientID string // of the credential; empty where Project is
	Err      error  // a *chatapi.Error
}

func (Reloaded) event()     {}
func (ReloadFailed) event() {}
func (NoFile) event()       {}
func (NoToken) event()      {}
