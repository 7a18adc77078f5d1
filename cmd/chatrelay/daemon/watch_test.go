package daemon

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/chatrelay/chatrelay/queue"
)

// lockedBuffer is a buffer that one goroutine writes and another one reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Take empties it.
func (l *lockedBuffer) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

// Every minute or so a worker looks again, and says once what is new and what was mended.
func TestWatchSaysWhatChanged(t *testing.T) {
	unsafe := queue.Fault{Kind: queue.FaultUnsafe, Stream: "NOTIFY_NORMAL", Text: "its duplicate_window is 2s, must be 2m0s", Remedy: "nats stream edit"}
	paused := queue.Fault{Kind: queue.FaultPaused, Stream: "NOTIFY_BULK", Consumer: true, Text: "it is paused", Remedy: "nats consumer resume"}
	tight := queue.Fault{Kind: queue.FaultTight, Stream: "NOTIFY_BULK", Text: "its window is short"}
	missing := []queue.Fault{{Kind: queue.FaultMissing, Stream: "NOTIFY_URGENT"}, {Kind: queue.FaultMissing, Stream: queue.DeadStream}}
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		b := &faultBoard{log: zerolog.New(&log)}
		var mu sync.Mutex // of what follows
		var found []queue.Fault
		var err error
		looks := 0
		is := func(f []queue.Fault, e error) {
			mu.Lock()
			defer mu.Unlock()
			found, err = f, e
		}
		looked := func() int {
			mu.Lock()
			defer mu.Unlock()
			return looks
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.watch(ctx, func(context.Context) ([]queue.Fault, error) {
			mu.Lock()
			defer mu.Unlock()
			looks++
			return found, err
		})
		next := func() string {
			synctest.Wait()
			log.Take()
			before := looked()
			time.Sleep(watchEvery * 5 / 4)
			synctest.Wait()
			if n := looked() - before; n < 1 || n > 2 {
				t.Errorf("%d looks in %v", n, watchEvery*5/4)
			}
			return log.Take()
		}
		expect := func(got string, lines int, words ...string) {
			t.Helper()
			for _, w := range words {
				if !strings.Contains(got, w) {
					t.Errorf("no %q in %s", w, got)
				}
			}
			if n := strings.Count(got, "\n"); n != lines {
				t.Errorf("%d lines, want %d: %s", n, lines, got)
			}
		}
		expect(next(), 0)
		is([]queue.Fault{unsafe, paused, tight}, nil)
		expect(next(), 3, "duplicate_window is 2s", "nats stream edit", "consumer worker of NOTIFY_BULK", "it is paused")
		expect(next(), 0)
		if c := b.conditions(); len(c) != 2 || c[0].What != "keep jobs in NOTIFY_NORMAL safe" || c[1].What != "take in jobs from NOTIFY_BULK" || time.Since(c[0].Since) < watchEvery {
			t.Errorf("conditions %+v", c)
		}
		is(nil, errors.New("nats away")) // nothing is known
		expect(next(), 0)
		is(missing, nil)
		expect(next(), 4, "mended: its duplicate_window", "mended: it is paused", "NOTIFY_DEAD", "it is missing")
		if c := b.conditions(); len(c) != 1 || c[0].What != "write to NOTIFY_DEAD" {
			t.Errorf("conditions %+v", c)
		}
	})
}

func TestReadyzSaysConditions(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := operations(prometheus.NewRegistry(), func() error { return nil }, func() []queue.Condition {
		return []queue.Condition{{What: "take in jobs from NOTIFY_BULK", Since: since, Detail: "it is paused"}}
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if want := "ready\ncannot take in jobs from NOTIFY_BULK since 2026-01-02T03:04:05Z: it is paused\n"; w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// The metric counts all that readyz and status tell, also what is wrong with streams and with letters.
func TestMetricCountsAllConditions(t *testing.T) {
	d := &daemon{faults: &faultBoard{log: zerolog.Nop()}, letters: newLetterBoard(), gates: newGateBoard()}
	d.metrics = newMetrics(d.held, func() float64 { return 0 }, d.connected)
	d.watchQueue()
	d.faults.update([]queue.Fault{{Kind: queue.FaultUnsafe, Stream: "NOTIFY_BULK", Text: "it is odd"}}, time.Now())
	answer := httptest.NewRecorder()
	operations(d.metrics.registry, func() error { return nil }, d.conditions).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(answer.Body.String(), "\nchatrelay_conditions 1\n") {
		t.Errorf("metrics:\n%s", answer.Body)
	}
}
