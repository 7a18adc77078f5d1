package credentials

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"
)

// reload reads the files again. Of one that cannot be used nothing changes; the failures say which.
func (c *Clients) reload() (r Reloaded, failures []ReloadFailed) {
	old := c.current.Load()
	next := &set{projects: old.projects, rest: old.rest}
	if c.file != "" {
		projects, err := readFile(c.file)
		if err == nil {
			next.projects = projects
		} else {
			failures = append(failures, ReloadFailed{c.file, err})
		}
	}
	if c.secretFile != "" {
		secret, err := ReadSecret(c.secretFile)
		if err == nil {
			next.rest.secret = secret
		} else {
			failures = append(failures, ReloadFailed{c.secretFile, err})
		}
	}
	r = difference(old, next)
	if !r.changed() {
		return r, failures
	}
	if err := c.buildClients(next, old.clients); err != nil {
		return Reloaded{}, append(failures, ReloadFailed{c.file, err})
	}
	c.current.Store(next)
	return r, failures
}

// difference says what changed from one set to the next.
func difference(old, next *set) (r Reloaded) {
	r.Rest = old.rest != next.rest
	for _, id := range slices.Sorted(maps.Keys(next.projects)) {
		switch before, named := old.projects[id]; {
		case !named:
			r.Added = append(r.Added, id)
		case before != next.projects[id]:
			r.Changed = append(r.Changed, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old.projects)) {
		if _, named := next.projects[id]; !named {
			r.Removed = append(r.Removed, id)
		}
	}
	return r
}

func (r Reloaded) changed() bool { return r.Rest || len(r.Projects()) > 0 }

// pollEvery is how often the files are read. Reading notices every kind of change, such as the
// symbolic links that Kubernetes replaces; for a thousand projects it takes some 15 ms.
const pollEvery = 2 * time.Second

// Watch reads the files again when one of them changed, and whenever again delivers (nil:
// never), until ctx ends. It reports a [Reloaded], [ReloadFailed] or [NoFile] for every request by
// again; otherwise when something changed, when there is new trouble with the files, and when the
// trouble is over. The credentials that changed are then checked, as by [Clients.Check].
// report is called from several goroutines.
func (c *Clients) Watch(ctx context.Context, again <-chan os.Signal, report func(Event)) {
	var poll <-chan time.Time
	if c.file != "" || c.secretFile != "" {
		ticker := time.NewTicker(pollEvery)
		defer ticker.Stop()
		poll = ticker.C
	}
	trouble := map[string]string{} // by file, what was last reported to be wrong
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-poll:
		case <-again:
			if poll == nil {
				report(NoFile{})
				continue
			}
			asked = true
		}
		r, failures := c.reload()
		over := len(trouble) > len(failures)
		before := trouble
		trouble = map[string]string{}
		for _, f := range failures {
			trouble[f.File] = f.Err.Error()
			if asked || before[f.File] != trouble[f.File] {
				report(f)
			}
		}
		if r.changed() || over || asked && len(failures) == 0 {
			report(r)
		}
		if r.changed() {
			go c.check(ctx, r.Rest, slices.Concat(r.Added, r.Changed), report)
		}
	}
}
