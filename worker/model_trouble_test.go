package worker

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// Rule 9, in stories told by chance: whatever befalls other projects, a calm one's jobs are called
// for at once. Calls that hang are the one thing that takes slots for long, so of the projects for
// which they do there may be as many as leave a slot free: each begins with four.
func TestModelTroubleStaysItsOwn(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				rng := rand.New(rand.NewPCG(seed, 9))
				cfg := Config{Concurrency: 8 + rng.IntN(57), MaxRecipients: 10 + rng.IntN(490)}
				w.latency = time.Duration(1+rng.IntN(30)) * time.Millisecond
				trouble := map[string]int{} // its kind, by project
				hanging := cfg.Concurrency/4 - 1
				for p := range 1 + rng.IntN(8) {
					kind := rng.IntN(6)
					if kind == 0 {
						if hanging == 0 {
							continue
						}
						hanging--
					}
					id := fmt.Sprint("trouble", p)
					trouble[id] = kind
					for i := range 50 + rng.IntN(3000) {
						w.publish(text(id, fmt.Sprint("text", i), people("w", 1+rng.IntN(3))...))
					}
				}
				w.hangs = func(project string) bool { kind, troubled := trouble[project]; return troubled && kind == 0 }
				w.answer = func(c call) (chatapi.Report, error) {
					kind, troubled := trouble[c.project]
					fail := func(kind chatapi.Kind, status int) (chatapi.Report, error) {
						return chatapi.Report{}, &chatapi.Error{Kind: kind, Status: status}
					}
					switch {
					case !troubled || kind == 5: // or a flood that is served well
						return okReport, nil
					case kind == 1:
						return fail(chatapi.Credential, 403)
					case kind == 2:
						return fail(chatapi.Limited, 429)
					case kind == 3:
						return fail(chatapi.Misconfigured, 404)
					}
					return fail(chatapi.Temporary, 503)
				}
				r := w.start(cfg)
				published := map[string]time.Time{}
				for i := range 30 {
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
					message := fmt.Sprint("calm", i)
					published[message] = time.Now()
					w.publish(text("calm", message, "a"))
				}
				time.Sleep(time.Second)
				w.mu.Lock()
				for _, c := range w.calls {
					if c.project != "calm" {
						continue
					}
					if waited := c.at.Sub(published[c.message]); waited > time.Second {
						t.Errorf("concurrency %d, troubles %v: %s waited %v", cfg.Concurrency, trouble, c.message, waited)
					}
					delete(published, c.message)
				}
				w.mu.Unlock()
				if len(published) > 0 {
					t.Errorf("%d calm jobs were not called for", len(published))
				}
				r.crash()
				<-r.ended
			})
		})
	}
}
