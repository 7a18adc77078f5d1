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
	c.check(ctx, true, slices.Sorted(maps.Keys(c.current.Load().projects)), report)
}

// check checks the credentials of these projects, and first that for the rest if asked to, each once.
func (c *Clients) check(ctx context.Context, rest bool, projects []string, report func(Event)) {
	s := c.current.Load()
	checked := map[*chatapi.Client]bool{nil: true} // nil: no credential
	ask := func(client *chatapi.Client, failed NoToken) (goOn bool) {
		if checked[client] {
			return true
		}
		checked[client] = true
		return c.checkOne(ctx, client, failed, report)
	}
	if rest && !ask(s.clients[s.rest], NoToken{}) {
		return
	}
	for _, id := range projects {
		cred, named := s.projects[id]
		if named && !ask(s.clients[cred], NoToken{Project: id, ClientID: cred.id}) {
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
