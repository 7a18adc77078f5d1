package credentials

import "slices"

// Event is what [Clients.Watch] and [Clients.Check] report: a [Reloaded], [ReloadFailed], [NoFile]
// or [NoToken].
type Event interface{ event() }

// Reloaded says that the file was read again, and what changed: ids of projects, sorted.
type Reloaded struct{ Added, Removed, Changed []string }

// Projects lists all projects that have another credential now, or none any more, sorted.
func (r Reloaded) Projects() []string {
	return slices.Sorted(slices.Values(slices.Concat(r.Added, r.Removed, r.Changed)))
}

// ReloadFailed says that the files cannot be read. The credentials read before stay in use.
type ReloadFailed struct{ Err error }

// NoFile says that a request to read the file again was in vain: there is none.
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
