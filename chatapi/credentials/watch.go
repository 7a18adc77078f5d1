package credentials

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"
)

// reload reads the file and its secret files again. After an error the old credentials stay in use.
func (c *Clients) reload() (Reloaded, error) {
	var r Reloaded
	projects, err := readFile(c.file)
	if err != nil {
		return r, err
	}
	old := c.current.Load()
	for _, id := range slices.Sorted(maps.Keys(projects)) {
		switch before, named := old.projects[id]; {
		case !named:
			r.Added = append(r.Added, id)
		case before != projects[id]:
			r.Changed = append(r.Changed, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old.projects)) {
		if _, named := projects[id]; !named {
			r.Removed = append(r.Removed, id)
		}
	}
	if len(r.Projects()) == 0 {
		return r, nil
	}
	s, err := c.buildClients(projects, old.clients)
	if err != nil {
		return Reloaded{}, err
	}
	c.current.Store(s)
	return r, nil
}

// pollEvery is how often the files are read. Reading notices every kind of change, such as the
// symbolic links that Kubernetes replaces; for a thousand projects it takes some 15 ms.
const pollEvery = 2 * time.Second

// Watch reads the file again when it or a secret file changed, and whenever again delivers (nil:
// never), until ctx ends. It reports a [Reloaded], [ReloadFailed] or [NoFile] for every request by
// again; otherwise when something changed, when there is new trouble with the files, and when the
// trouble is over. The credentials of projects that changed are then checked, as by [Clients.Check].
// report is called from several goroutines.
func (c *Clients) Watch(ctx context.Context, again <-chan os.Signal, report func(Event)) {
	var poll <-chan time.Time
	if c.file != "" {
		ticker := time.NewTicker(pollEvery)
		defer ticker.Stop()
		poll = ticker.C
	}
	trouble := "" // what was last reported to be wrong with the files
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-poll:
		case <-again:
			if c.file == "" {
				report(NoFile{})
				continue
			}
			asked = true
		}
		r, err := c.reload()
		if err != nil {
			if asked || err.Error() != trouble {
				report(ReloadFailed{err})
			}
			trouble = err.Error()
			continue
		}
		changed := r.Projects()
		if asked || trouble != "" || len(changed) > 0 {
			report(r)
		}
		trouble = ""
		if len(changed) > 0 {
			go c.check(ctx, changed, report)
		}
	}
}
