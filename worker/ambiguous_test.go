package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// However an API fails that may have delivered, for large calls or for all, and however often workers are
// replaced meanwhile: nobody is called for more often than is allowed, on account of one job, and nobody is
// given up as ambiguous who was not called for as often as that, a second or more apart.
func TestAmbiguousCallsAreCounted(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) { ambiguousOutage(t, w, rand.New(rand.NewPCG(seed, 9))) })
		})
	}
}

func ambiguousOutage(t *testing.T, w *world, rng *rand.Rand) {
	failures := []*chatapi.Error{
		{Kind: chatapi.Temporary, MayBeDelivered: true, Err: context.DeadlineExceeded},
		{Kind: chatapi.Temporary, MayBeDelivered: true, Status: 504},
		{Kind: chatapi.Temporary, MayBeDelivered: true, Status: 500},
		{Kind: chatapi.Unreadable, MayBeDelivered: true, Status: 200},
		{Kind: chatapi.Temporary, MayBeDelivered: true, Detail: "connection reset"},
	}
	failure, most := failures[rng.IntN(len(failures))], 1+rng.IntN(6)
	begin, lasts, largest := time.Now(), time.Duration(rng.IntN(40))*time.Minute, rng.IntN(100)
	tried := map[string]int{}                      // by message and recipient: each stands in one job
	latest := map[string]time.Time{}               // when that was
	dice := rand.New(rand.NewPCG(rng.Uint64(), 1)) // answers are given one at a time
	w.answer = func(c call) (chatapi.Report, error) {
		if time.Since(begin) > lasts || dice.IntN(2) == 0 && len(c.ids) <= largest {
			return okReport, nil
		}
		for _, id := range c.ids {
			who := c.message + " " + id
			if wait := time.Since(latest[who]); tried[who] > 0 && wait < ambiguousFirst {
				t.Errorf("%s was called for once more after %v", who, wait)
			}
			tried[who]++
			latest[who] = time.Now()
		}
		return chatapi.Report{}, failure
	}
	cfg := Config{MaxRecipients: 300, MaxAmbiguous: most, Concurrency: 1 + rng.IntN(8)}
	r := w.start(cfg)
	n, texts := 0, 1+rng.IntN(4)
	for i := range 20 {
		var ids []string
		for range 1 + rng.IntN(200) {
			n++
			ids = append(ids, fmt.Sprint("w", n))
		}
		w.publish(text(fmt.Sprint("p", rng.IntN(3)), fmt.Sprint("text", rng.IntN(texts)), ids...))
		time.Sleep(time.Duration(rng.IntN(60)) * time.Second)
		if i%7 == 6 {
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			r = w.start(cfg)
		}
	}
	w.finish(r, 48*time.Hour)
	for who, n := range tried {
		if n > most {
			t.Fatalf("%s was called for %d times, want %d at most", who, n, most)
		}
	}
	for _, l := range w.letters {
		if l.Reason != queue.Ambiguous {
			t.Errorf("a letter says %s", l.Reason)
		}
		for _, id := range l.WovenIDs {
			if n := tried[l.Message+" "+id]; n != most {
				t.Fatalf("%s was buried after %d calls, want %d", id, n, most)
			}
		}
	}
	if lasts > 15*time.Minute && len(w.letters) == 0 && largest == 0 {
		t.Error("nobody was buried")
	}
}
