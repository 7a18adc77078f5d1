package daemon

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/chatrelay/chatrelay/queue"
)

// watchEvery is how often a worker looks at the settings of streams and consumers. Looking takes nine short
// requests; workers that were started together do not look together.
const watchEvery = time.Minute

// faultBoard remembers what is wrong with streams and consumers.
type faultBoard struct {
	log zerolog.Logger

	mu    sync.Mutex
	known []knownFault // in the order of the queue
}

type knownFault struct {
	queue.Fault
	since time.Time
}

// watch looks for faults until ctx ends. Where it cannot look, that is said elsewhere.
func (b *faultBoard) watch(ctx context.Context, faults func(context.Context) ([]queue.Fault, error)) {
	for {
		if found, err := faults(ctx); err == nil {
			b.update(found, time.Now())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchEvery*3/4 + rand.N(watchEvery/2)): //nolint:gosec // only to spread the looks
		}
	}
}

// update takes down the faults that there are now, and logs what has changed.
func (b *faultBoard) update(found []queue.Fault, now time.Time) {
	found = slices.DeleteFunc(slices.Clone(found), func(f queue.Fault) bool {
		return f.Kind == queue.FaultMissing && f.Stream != queue.DeadStream // the intake finds that in seconds, and says it
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	known := make([]knownFault, 0, len(found))
	for _, f := range found {
		since := now
		if i := slices.IndexFunc(b.known, func(k knownFault) bool { return k.Fault == f }); i >= 0 {
			since = b.known[i].since
		} else {
			b.log.Warn().Str("where", f.Place()).Str("fault", string(f.Kind)).Str("remedy", f.Remedy).Msg("streams: " + f.Words())
		}
		known = append(known, knownFault{f, since})
	}
	for _, k := range b.known {
		if !slices.Contains(found, k.Fault) {
			b.log.Info().Str("where", k.Place()).Str("fault", string(k.Kind)).Msg("streams: mended: " + k.Words())
		}
	}
	b.known = known
}

// conditions are the faults with which jobs are not safe, or not delivered. A limit that is tight was logged.
func (b *faultBoard) conditions() (all []queue.Condition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.known {
		switch k.Kind {
		case queue.FaultPaused:
			all = append(all, queue.Condition{What: "take in jobs from " + k.Stream, Since: k.since, Detail: k.Words() + " (" + k.Remedy + ")"})
		case queue.FaultUnsafe:
			all = append(all, queue.Condition{What: "keep jobs in " + k.Stream + " safe", Since: k.since, Detail: k.Words() + " (" + k.Remedy + ")"})
		case queue.FaultMissing:
			all = append(all, queue.Condition{What: "write to " + k.Stream, Since: k.since, Detail: k.Words()})
		}
	}
	return all
}
