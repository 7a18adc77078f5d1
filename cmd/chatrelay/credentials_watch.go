package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/chatrelay/chatrelay/chatapi"
)

// reloaded says what a reading of the file changed: projects by id, sorted.
type reloaded struct{ added, removed, changed []string }

func (r reloaded) projects() []string {
	return slices.Sorted(slices.Values(slices.Concat(r.added, r.removed, r.changed)))
}

// reload reads the file and its secret files again. After an error the old credentials serve on.
func (c *credentials) reload() (reloaded, error) {
	var r reloaded
	projects, err := readCredentials(c.file)
	if err != nil {
		return r, err
	}
	old := c.current.Load()
	for _, id := range slices.Sorted(maps.Keys(projects)) {
		switch before, named := old.projects[id]; {
		case !named:
			r.added = append(r.added, id)
		case before != projects[id]:
			r.changed = append(r.changed, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old.projects)) {
		if _, named := projects[id]; !named {
			r.removed = append(r.removed, id)
		}
	}
	if len(r.projects()) == 0 {
		return r, nil
	}
	set, err := c.equip(projects, old.clients)
	if err != nil {
		return reloaded{}, err
	}
	c.current.Store(set)
	return r, nil
}

// credentialsPoll is how often the files are read. Reading sees every kind of change, such as the
// symlinks that Kubernetes swaps; for a thousand projects it takes some 15 ms.
const credentialsPoll = 2 * time.Second

// watch reloads when a file changed, and on SIGHUP, until ctx ends.
func (c *credentials) watch(ctx context.Context, log zerolog.Logger) {
	var poll <-chan time.Time
	if c.file != "" {
		ticker := time.NewTicker(credentialsPoll)
		defer ticker.Stop()
		poll = ticker.C
	}
	log = log.With().Str("file", c.file).Logger()
	trouble := "" // what was last said to be wrong with the files
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-poll:
		case <-c.hangup:
			if c.file == "" {
				log.Info().Msg("SIGHUP: there is no --credentials-file to read again")
				continue
			}
			asked = true
		}
		r, err := c.reload()
		if err != nil {
			if asked || err.Error() != trouble {
				log.Error().Str("error", err.Error()).Msg("credentials not reloaded: the old ones stay in use until this is put right")
			}
			trouble = err.Error()
			continue
		}
		changed := r.projects()
		if asked || trouble != "" || len(changed) > 0 {
			log.Info().Int("added", len(r.added)).Int("removed", len(r.removed)).Int("changed", len(r.changed)).Msg("credentials reloaded")
		}
		trouble = ""
		if len(changed) == 0 {
			continue
		}
		if c.changed != nil {
			for _, id := range changed {
				c.changed(id)
			}
		}
		go c.check(ctx, log, changed)
	}
}

// checkAll tells early which credentials do not work; the worker goes on trying.
func (c *credentials) checkAll(ctx context.Context, log zerolog.Logger) {
	if c.rest != nil && c.checkOne(ctx, log, c.rest, "check --client-id, the secret and --token-url") {
		return
	}
	c.check(ctx, log, slices.Sorted(maps.Keys(c.current.Load().projects)))
}

// check does so for the credentials of these projects, each once.
func (c *credentials) check(ctx context.Context, log zerolog.Logger, projects []string) {
	set := c.current.Load()
	checked := map[*chatapi.Client]bool{c.rest: true}
	for _, id := range projects {
		cred, named := set.projects[id]
		client := set.clients[cred]
		if !named || checked[client] {
			continue
		}
		checked[client] = true
		if c.checkOne(ctx, log.With().Str("project", id).Str("client_id", cred.id).Logger(), client, "check its entry in --credentials-file") {
			return
		}
	}
}

// checkOne returns true when it is of no use to check others: the token endpoint itself fails.
func (c *credentials) checkOne(ctx context.Context, log zerolog.Logger, client *chatapi.Client, advice string) (enough bool) {
	err := client.CheckToken(ctx)
	if err == nil || ctx.Err() != nil {
		return false
	}
	log.Error().Str("error", chatapi.LogText(err)).Msg("no access token: jobs will wait; " + advice)
	return chatapi.KindOf(err) != chatapi.Credential
}
