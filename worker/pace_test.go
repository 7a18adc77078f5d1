package worker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// Rates hold for calls and for recipients, for each project and for all.
func TestRates(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg    Config
		within time.Duration // for three projects' four calls of ten recipients
	}{
		"calls":              {Config{CallsPerSecond: 4}, 2750 * time.Millisecond},
		"recipients":         {Config{RecipientsPerSecond: 20}, 5500 * time.Millisecond},
		"project calls":      {Config{ProjectCallsPerSecond: 4}, 750 * time.Millisecond},
		"project recipients": {Config{ProjectRecipientsPerSecond: 20}, 1500 * time.Millisecond},
		"none":               {Config{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tc.cfg.Linger = -1
				for p := range 3 {
					for i := range 4 {
						w.publish(text(fmt.Sprint("p", p), fmt.Sprint("text", i), people("w", 10)...))
					}
				}
				begin := time.Now()
				r := w.start(tc.cfg)
				w.finish(r, time.Minute)
				calls := w.sent()
				if len(calls) != 12 {
					t.Fatalf("%d calls", len(calls))
				}
				last := at(begin, calls[len(calls)-1].at)
				if last < tc.within || last > tc.within+100*time.Millisecond {
					t.Errorf("the last call went after %v, want %v", last, tc.within)
				}
			})
		})
	}
}

// A gate that another worker tells of is kept like one's own, and its probe waits for its time.
func TestGateToldByAnotherWorker(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.start(Config{})
		begin := time.Now()
		w.publish(text("limited", "hello", "a"))
		synctest.Wait() // it lingers
		r.worker.CloseGate(Closure{ProjectID: "limited", Wait: 3 * time.Second, Kind: chatapi.Limited, Status: 429, From: "other"})
		w.publish(text("free", "hello", "a"))
		w.finish(r, time.Minute)
		for _, c := range w.sent() {
			switch after := at(begin, c.at); {
			case c.project == "limited" && after < 3*time.Second:
				t.Errorf("called after %v, inside the pause", after)
			case c.project == "free" && after > 100*time.Millisecond:
				t.Errorf("another project waited %v", after)
			}
		}
	})
}

// Calls that may have been delivered are bounded, whatever the API does, and whoever is concerned ends in
// a letter.
func TestMaxAmbiguous(t *testing.T) {
	for _, most := range []int{0, 1, 3} {
		inWorld(t, func(t *testing.T, w *world) {
			w.answer = func(c call) (chatapi.Report, error) {
				if c.message == "hello" {
					return chatapi.Report{}, &chatapi.Error{Kind: chatapi.Temporary, Status: 500, MayBeDelivered: true, Detail: "out of memory"}
				}
				return okReport, nil
			}
			w.publish(text("p", "hello", people("w", 300)...))
			r := w.start(Config{MaxAmbiguous: most})
			for i := range 100 { // others of the project succeed, which opens its gate
				w.publish(text("p", fmt.Sprint("tick", i), "a"))
				time.Sleep(10 * time.Second)
			}
			w.finish(r, time.Hour)
			times := map[string]int{}
			for _, c := range w.sent() {
				for _, id := range c.ids {
					if c.message == "hello" {
						times[id]++
					}
				}
			}
			want := most
			if want == 0 {
				want = 5
			}
			for id, n := range times {
				if n != want {
					t.Fatalf("%s was called for %d times, want %d", id, n, want)
				}
			}
			if n := w.buried(queue.Ambiguous); len(times) != 300 || n != 300 {
				t.Errorf("%d recipients, %d buried as ambiguous", len(times), n)
			}
		})
	}
}
