package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// Thousands of projects whose calls all fail, be it for a credential that they share, one of their own, or
// because the API is down for them, do not keep the jobs of another project waiting.
func TestManyClosedGates(t *testing.T) {
	for name, c := range map[string]struct {
		err        *chatapi.Error
		credential func(string) any
		most       int // calls of the failing projects
	}{
		"a credential that all share": {&chatapi.Error{Kind: chatapi.Credential, Status: 401}, func(id string) any {
			if id == "well" {
				return "good"
			}
			return "bad"
		}, 100},
		"no token":                 {&chatapi.Error{Kind: chatapi.Credential, Status: 401, Unsent: true}, func(id string) any { return id == "well" }, 100},
		"forbidden, shared":        {&chatapi.Error{Kind: chatapi.Credential, Status: 403}, func(id string) any { return id == "well" }, 400},
		"credentials of their own": {&chatapi.Error{Kind: chatapi.Credential, Status: 401}, nil, 0},
		"down":                     {&chatapi.Error{Kind: chatapi.Temporary, Status: 503}, nil, 0},
		"limited":                  {&chatapi.Error{Kind: chatapi.Limited, Status: 429, RetryAfter: 20 * time.Second}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				const projects, window = 2500, 2000
				w.latency = time.Millisecond
				broken := true
				failed := 0
				w.answer = func(one call) (chatapi.Report, error) {
					if one.project != "well" && broken {
						failed++
						return chatapi.Report{}, c.err
					}
					return chatapi.Report{}, nil
				}
				w.window = Config{Window: window}.withDefaults().window()
				r := w.start(Config{Window: window, Credential: c.credential})
				for i := range projects {
					w.publish(text(fmt.Sprint("ill", i), "hello", "a"))
				}
				time.Sleep(30 * time.Second)
				for i := range 8 {
					w.publish(text("well", fmt.Sprint("hello ", i), "a"))
					begin := time.Now()
					for w.timesTold("well", fmt.Sprint("hello ", i), "a") == 0 {
						time.Sleep(10 * time.Millisecond)
						if time.Since(begin) > time.Second {
							t.Fatalf("job %d of the other project was not delivered within 1 s", i)
						}
					}
					time.Sleep(time.Second)
				}
				w.answers.Lock()
				broken = false
				if c.most > 0 && failed > c.most {
					t.Errorf("%d calls failed, want at most %d", failed, c.most)
				}
				w.answers.Unlock()
				w.finish(r, 10*time.Minute)
				if n := w.buried(queue.Exhausted); n > 0 {
					t.Errorf("%d buried", n)
				}
			})
		})
	}
}
