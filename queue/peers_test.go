package queue

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// What a worker says of itself arrives however much it is, and what anybody says is bounded.
func TestWordsOfWorkersAreBounded(t *testing.T) {
	q, b := newQueueAt(t)
	initDid(t, q, InitConfig{})
	long := strings.Repeat(`"\é`, 10_000) + "\xff"
	gates := make([]GateStatus, maxGates+7)
	for i := range gates {
		gates[i] = GateStatus{ProjectID: "p", Kind: "temporary", Detail: long, Advice: long, Until: time.Now()}
	}
	gates[0].Detail, gates[0].Narrow = "connection refused", true
	stop, err := connect(t, b).Announce(map[string]string{"host": long}, func() WorkerState { return WorkerState{Gates: gates} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	eventually(t, "the worker is shown", func() bool {
		st, err := q.Status(t.Context(), 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Workers) == 0 {
			return false
		}
		w := st.Workers[0]
		if len(w.Gates) != maxGates || w.GatesLeftOut != 7 || w.Gates[0].Detail != "connection refused" || !w.Gates[0].Narrow {
			t.Errorf("%d gates, %d left out, the first %+v", len(w.Gates), w.GatesLeftOut, w.Gates[0])
		}
		for _, text := range []string{w.Info["host"], w.Gates[1].Detail, w.Gates[1].Advice} {
			if len(text) > maxWords || len(text) < maxWords-4 || !utf8.ValidString(text) {
				t.Errorf("%d bytes, want at most %d", len(text), maxWords)
			}
		}
		return true
	})
}
