package credentials

import (
	"context"
	"maps"
	"slices"

	"github.com/chatrelay/chatrelay/chatapi"
)

// Check gets an access token with every credential, and reports a [NoToken] for each that does not
// work. It stops early when the token endpoint itself fails, for then all would.
func (c *Clients) Check(ctx context.Context, report func(Event)) {
	if c.rest != nil && !c.checkOne(ctx, c.rest, NoToken{}, report) {
		return
	}
	c.check(ctx, slices.Sorted(maps.Keys(c.current.Load().projects)), report)
}

// check checks the credentials of these projects, each once.
func (c *Clients) check(ctx context.Context, projects []string, report func(Event)) {
	s := c.current.Load()
	checked := map[*chatapi.Client]bool{c.rest: true}
	for _, id := range projects {
		cred, named := s.projects[id]
		client := s.clients[cred]
		if !named || checked[client] {
			continue
		}
		checked[client] = true
		if !c.checkOne(ctx, client, NoToken{Project: id, ClientID: cred.id}, report) {
			return
		}
	}
}

// checkOne returns false when it is of no use to check others.
func (c *Clients) checkOne(ctx context.Context, client *chatapi.Client, failed NoToken, report func(Event)) bool {
	err := client.CheckToken(ctx)
	if err == nil || ctx.Err() != nil {
		return true
	}
	failed.Err = err
	report(failed)
	return chatapi.KindOf(err) == chatapi.Credential
}
