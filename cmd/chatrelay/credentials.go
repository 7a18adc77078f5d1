package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/chatrelay/chatrelay/chatapi"
)

// credentials calls the Chat API for each project with the project's own client, so that a token,
// and trouble with it, stays with those who share a credential. Projects that --credentials-file
// does not name use --client-id, if it was given. It is a worker.Sender.
type credentials struct {
	file string          // --credentials-file; "": none
	base *chatapi.Client // the others are made from it, and share its connections
	rest *chatapi.Client // for projects that the file does not name; nil: they cannot call

	current atomic.Pointer[credentialSet] // replaced as a whole by reload

	// hangup brings SIGHUP to watch, where the command wants that.
	hangup chan os.Signal
	// changed, unless nil, is told by watch of each project that has another credential now: it is
	// worth trying again at once.
	changed func(project string)
}

// credentialSet is what one reading of the file came to. It is never changed.
type credentialSet struct {
	projects map[string]credential // by project id in lower case
	clients  map[credential]*chatapi.Client
}

// newCredentials reads file unless it is "". The credential in api, unless its ClientID is "", is
// for the projects that file does not name.
func newCredentials(api chatapi.Config, file string) (*credentials, error) {
	c := &credentials{file: file, hangup: make(chan os.Signal, 1)}
	var projects map[string]credential
	if file != "" {
		var err error
		if projects, err = readCredentials(file); err != nil {
			return nil, usagef("--credentials-file: %w", err)
		}
	}
	alone := api.ClientID == ""
	if alone && file == "" {
		return nil, usagef("no credential: give --client-id and --client-secret-file, or --credentials-file")
	}
	if alone {
		for _, cred := range projects { // any will do
			api.ClientID, api.ClientSecret = cred.id, cred.secret
		}
	}
	var err error
	if c.base, err = chatapi.New(api); err != nil {
		return nil, usagef("%w (flags: --api-url, --token-url, --client-id, --client-secret-file)", err)
	}
	if !alone {
		c.rest = c.base
	}
	known := map[credential]*chatapi.Client{{api.ClientID, api.ClientSecret}: c.base}
	set, err := c.equip(projects, known)
	if err != nil {
		return nil, usagef("--credentials-file: %w", err)
	}
	c.current.Store(set)
	return c, nil
}

// equip gives every credential a client. Those that are known keep theirs, and so their token.
func (c *credentials) equip(projects map[string]credential, known map[credential]*chatapi.Client) (*credentialSet, error) {
	set := &credentialSet{projects: projects, clients: make(map[credential]*chatapi.Client)}
	for id, cred := range projects {
		client := known[cred]
		if client == nil {
			client = set.clients[cred]
		}
		if client == nil {
			var err error
			if client, err = c.base.With(cred.id, cred.secret); err != nil {
				return nil, fmt.Errorf("project %s: %w", id, err)
			}
		}
		set.clients[cred] = client
	}
	return set, nil
}

// Endpoint is the address that all calls go to.
func (c *credentials) Endpoint() string { return c.base.Endpoint() }

// Send calls with the credential of n's project. Without one it is the project's gate that closes:
// its jobs wait for an operator, and nothing is buried.
func (c *credentials) Send(ctx context.Context, n chatapi.Notification) (chatapi.Report, error) {
	client := c.rest
	set := c.current.Load()
	if cred, named := set.projects[strings.ToLower(n.ProjectID)]; named {
		client = set.clients[cred]
	}
	if client == nil {
		return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Credential,
			Detail: fmt.Sprintf("no credential for project %s, add it to --credentials-file", n.ProjectID)}
	}
	return client.Send(ctx, n)
}
