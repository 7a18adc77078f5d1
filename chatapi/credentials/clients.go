// Package credentials calls the Chat API for each project with the project's own client credential.
//
//	credentials file, secret files ──▶ Clients.Send ──▶ the chatapi.Client of the project's credential
//	            └── watched: a change replaces the clients of the projects concerned, and no other's
//
// A token, and trouble with it, stays with the projects that share a credential. A file that cannot
// be used changes nothing: the credentials read before stay in use. No secret is in any error or
// event.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/chatrelay/chatrelay/chatapi"
)

// Clients has a client of the Chat API for each project. It is safe for concurrent use.
type Clients struct {
	file       string          // "": none
	secretFile string          // that of the credential for the rest, watched; "": none
	base       *chatapi.Client // the others are made from it, and share its connections

	current atomic.Pointer[set] // replaced as a whole by reload
}

// set is what one reading of the files came to. It is never changed.
type set struct {
	projects map[string]credential // by project id in lower case
	rest     credential            // for projects that the file does not name; zero: they cannot call
	clients  map[credential]*chatapi.Client
}

// of returns the client for a project, nil without one.
func (s *set) of(projectID string) *chatapi.Client {
	cred, named := s.projects[strings.ToLower(projectID)]
	if !named {
		cred = s.rest
	}
	return s.clients[cred]
}

// ErrNone is returned by [New] when there is neither a credential nor a file.
var ErrNone = errors.New("no credential: there is neither a client id nor a credentials file")

// FileError says what is wrong with the credentials file or with a secret file that it names.
type FileError struct{ Err error }

// Error names the file and, where one is concerned, the line.
func (e *FileError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// New reads file, unless it is "". The credential in api, unless its ClientID is "", is for the
// projects that the file does not name; secretFile is what its secret was read from by [ReadSecret],
// for [Clients.Watch], or "". Errors are a [FileError], [ErrNone], or what [chatapi.New] says of api. It
// does not touch the network: see [Clients.Check].
func New(api chatapi.Config, file, secretFile string) (*Clients, error) {
	c := &Clients{file: file}
	first := &set{rest: credential{api.ClientID, api.ClientSecret}}
	if file != "" {
		var err error
		if first.projects, err = readFile(file); err != nil {
			return nil, &FileError{err}
		}
	}
	switch {
	case api.ClientID == "" && file == "":
		return nil, ErrNone
	case api.ClientID == "":
		first.rest = credential{}
		for _, cred := range first.projects { // any will do
			api.ClientID, api.ClientSecret = cred.id, cred.secret
		}
	case rereadable(secretFile):
		c.secretFile = secretFile
	}
	var err error
	if c.base, err = chatapi.New(api); err != nil {
		return nil, err
	}
	known := map[credential]*chatapi.Client{{api.ClientID, api.ClientSecret}: c.base}
	if err := c.buildClients(first, known); err != nil {
		return nil, &FileError{err}
	}
	c.current.Store(first)
	return c, nil
}

// rereadable reports whether a file can be read more than once; a pipe, which a shell makes of
// <(command), cannot.
func rereadable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

// buildClients gives every credential of s a client. Those that are known keep theirs, and so their token.
func (c *Clients) buildClients(s *set, known map[credential]*chatapi.Client) error {
	s.clients = make(map[credential]*chatapi.Client)
	add := func(cred credential) (err error) {
		client := known[cred]
		if client == nil {
			client = s.clients[cred]
		}
		if client == nil {
			client, err = c.base.With(cred.id, cred.secret)
		}
		s.clients[cred] = client
		return err
	}
	for id, cred := range s.projects {
		if err := add(cred); err != nil {
			return fmt.Errorf("project %s: %w", id, err)
		}
	}
	if s.rest.id != "" {
		return add(s.rest)
	}
	return nil
}

// Endpoint is the address that all calls go to.
func (c *Clients) Endpoint() string { return c.base.Endpoint() }

// File is the path of the credentials file; "" without one.
func (c *Clients) File() string { return c.file }

// SecretFile is the path of the watched secret file of the credential for projects that the
// credentials file does not name; "" without one.
func (c *Clients) SecretFile() string { return c.secretFile }

// Credential stands for the credential with which a project calls now: its values are equal (==) for
// projects that share one, and others once it was replaced. It says nothing else. Nil: the project has
// none.
func (c *Clients) Credential(projectID string) any {
	if client := c.current.Load().of(projectID); client != nil {
		return client
	}
	return nil
}

// Send calls with the credential of n's project. Without one it returns an error of kind
// [chatapi.Credential] and makes no call.
func (c *Clients) Send(ctx context.Context, n chatapi.Notification) (chatapi.Report, error) {
	client := c.current.Load().of(n.ProjectID)
	if client == nil {
		return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Credential, Unsent: true,
			Detail: fmt.Sprintf("no credential for project %s: add it to the credentials file", n.ProjectID)}
	}
	return client.Send(ctx, n)
}
