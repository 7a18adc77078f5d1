// Package credentials calls the Chat API for each project with the project's own client credential.
//
//	credentials file, secret files ──▶ Clients.Send ──▶ the chatapi.Client of the project's credential
//	            └── watched: a change replaces the clients of the projects concerned, and no other's
//
// A token, and trouble with it, stays with the projects that share a credential. A file that cannot
// be read changes nothing: the credentials read before stay in use. No secret is in any error or
// event.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/chatrelay/chatrelay/chatapi"
)

// Clients has a client of the Chat API for each project. It is safe for concurrent use.
type Clients struct {
	file string          // "": none
	base *chatapi.Client // the others are made from it, and share its connections
	rest *chatapi.Client // for projects that the file does not name; nil: they cannot call

	current atomic.Pointer[set] // replaced as a whole by reload
}

// set is what one reading of the file came to. It is never changed.
type set struct {
	projects map[string]credential // by project id in lower case
	clients  map[credential]*chatapi.Client
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
// projects that the file does not name. Errors are a [FileError], [ErrNone], or what [chatapi.New]
// says of api. It does not touch the network: see [Clients.Check].
func New(api chatapi.Config, file string) (*Clients, error) {
	c := &Clients{file: file}
	var projects map[string]credential
	if file != "" {
		var err error
		if projects, err = readFile(file); err != nil {
			return nil, &FileError{err}
		}
	}
	alone := api.ClientID == ""
	if alone && file == "" {
		return nil, ErrNone
	}
	if alone {
		for _, cred := range projects { // any will do
			api.ClientID, api.ClientSecret = cred.id, cred.secret
		}
	}
	var err error
	if c.base, err = chatapi.New(api); err != nil {
		return nil, err
	}
	if !alone {
		c.rest = c.base
	}
	known := map[credential]*chatapi.Client{{api.ClientID, api.ClientSecret}: c.base}
	first, err := c.buildClients(projects, known)
	if err != nil {
		return nil, &FileError{err}
	}
	c.current.Store(first)
	return c, nil
}

// buildClients gives every credential a client. Those that are known keep theirs, and so their token.
func (c *Clients) buildClients(projects map[string]credential, known map[credential]*chatapi.Client) (*set, error) {
	s := &set{projects: projects, clients: make(map[credential]*chatapi.Client)}
	for id, cred := range projects {
		client := known[cred]
		if client == nil {
			client = s.clients[cred]
		}
		if client == nil {
			var err error
			if client, err = c.base.With(cred.id, cred.secret); err != nil {
				return nil, fmt.Errorf("project %s: %w", id, err)
			}
		}
		s.clients[cred] = client
	}
	return s, nil
}

// Endpoint is the address that all calls go to.
func (c *Clients) Endpoint() string { return c.base.Endpoint() }

// File is the path of the credentials file; "" without one.
func (c *Clients) File() string { return c.file }

// Send calls with the credential of n's project. Without one it returns an error of kind
// [chatapi.Credential] and makes no call.
func (c *Clients) Send(ctx context.Context, n chatapi.Notification) (chatapi.Report, error) {
	client := c.rest
	s := c.current.Load()
	if cred, named := s.projects[strings.ToLower(n.ProjectID)]; named {
		client = s.clients[cred]
	}
	if client == nil {
		return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Credential,
			Detail: fmt.Sprintf("no credential for project %s: add it to the credentials file", n.ProjectID)}
	}
	return client.Send(ctx, n)
}
