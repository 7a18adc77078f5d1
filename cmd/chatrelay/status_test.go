package main

import (
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/ops"
	"github.com/chatrelay/chatrelay/queue"
)

// The cause of a closed gate and the advice are shown, whoever wrote them, in one line each.
func TestStatusShowsCauses(t *testing.T) {
	var out strings.Builder
	a := &app{stdout: &out}
	soon := time.Now().Add(time.Hour)
	a.printStatus(ops.Status{
		Status: queue.Status{Workers: []queue.WorkerStatus{{Info: map[string]string{"host": "h\x1b[2J"}, GatesLeftOut: 3}}},
		Closed: []ops.Gate{
			{GateStatus: queue.GateStatus{ProjectID: "p", Kind: "temporary", Until: soon, Detail: "call x: connection refused", Advice: "look at x"}},
			{GateStatus: queue.GateStatus{ProjectID: "q\x1b[2J", Kind: "k\u009b2J", Status: 403, Until: soon, Narrow: true, Detail: "d\x1b[2J\n\u202e" + strings.Repeat("x", 5000), Advice: "a\x1b[2J"}},
		},
	})
	text := out.String()
	for _, want := range []string{"closed gates       2 shown, 3 more\n", "temporary, next call in 1h0m0s: look at x\n", " call x: connection refused\n", "status 403, of one message only as far as is known, tried in 1h0m0s: a"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if strings.ContainsAny(text, "\x1b\u009b\u202e") || len(text) > 1500 {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

// Letters that no worker wrote are counted as other, and the text does not leave them out.
func TestStatusShowsAllReasons(t *testing.T) {
	got := byReason(map[queue.Reason]uint64{"other": 3, queue.Rejected: 1, queue.Invalid: 0})
	if want := " (rejected 1, other 3)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a worker cannot do is shown with all of its remedy, which is at the end.
func TestStatusShowsRemediesWhole(t *testing.T) {
	var out strings.Builder
	detail := strings.Repeat("x", 380) + " the remedy)"
	(&app{stdout: &out}).printConditions([]queue.Condition{{What: "w", Since: time.Now(), Detail: detail}})
	if !strings.Contains(out.String(), "the remedy)\n") {
		t.Errorf("%q", out.String())
	}
}

// What could lose jobs is shown with the command that puts it right, before any worker has looked, and how long a
// worker has run whatever its clock says.
func TestStatusShowsUnsafeSettings(t *testing.T) {
	var out strings.Builder
	a := &app{stdout: &out}
	worker := queue.WorkerStatus{Info: map[string]string{"started": time.Now().Add(5*time.Minute - time.Hour).Format(time.RFC3339)}}
	worker.ClockAhead = -300
	a.printStatus(ops.Status{
		Unsafe: []queue.Fault{{Kind: queue.FaultUnsafe, Stream: queue.LaterStream, Text: "it has limits of max_msgs", Remedy: "nats stream edit NOTIFY_LATER --max-msgs=-1"}},
		Status: queue.Status{
			Streams: []queue.StreamTrouble{{Stream: queue.LaterStream, Full: .9}},
			Workers: []queue.WorkerStatus{worker},
		},
	})
	for _, want := range []string{"NOTIFY_LATER       jobs are not safe: it has limits of max_msgs (nats stream edit NOTIFY_LATER --max-msgs=-1)\n", "90 % full; when it is full no more can be deferred", "for 1h0m", "s, clock 5m0s ahead of NATS"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing:\n%s", want, out.String())
		}
	}
}
