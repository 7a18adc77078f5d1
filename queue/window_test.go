package queue

import (
	"strings"
	"testing"
	"time"
)

// A window asks for what there is room for, in two pulls at a time, and counts what comes, what does not
// come, and what was never answered.
func TestWindowAsksForWhatThereIsRoomFor(t *testing.T) {
	now := time.Unix(1e9, 0)
	limits := pullLimits{jobs: pullMessages, bytes: 1 << 30, expires: pullExpiry, largest: 1 << 20}
	w := newWindow(5000, 1<<26)
	ask := func(want int) request {
		t.Helper()
		r := w.ask(now, limits)
		if r.jobs != want {
			t.Fatalf("asked for %d jobs, want %d: %+v", r.jobs, want, w)
		}
		return r
	}
	first := ask(2000)
	ask(0) // more than half of it is still to come
	for range 1000 {
		w.came(100, 1000)
		w.add(1000)
	}
	ask(2000)
	for range 3000 {
		w.came(100, 1000)
		w.add(1000)
	}
	ask(1000)
	w.over(first.name, 7) // long over
	if w.asked != 1000 {
		t.Errorf("%d jobs are still to come, want 1000", w.asked)
	}
	w.over("3", 400)
	if w.asked != 600 {
		t.Errorf("%d jobs are still to come after 400 of them will not, want 600", w.asked)
	}
	w.over("3", 400)
	if w.asked != 600 {
		t.Errorf("one pull ended twice: %d", w.asked)
	}
	for range 600 {
		w.came(100, 1000)
		w.add(1000)
	}
	ask(400)
	for range 400 {
		w.came(100, 1000)
		w.add(1000)
	}
	ask(0)
	for range 311 {
		w.remove(1000)
	}
	ask(0) // a sixteenth is not free yet
	w.remove(1000)
	w.remove(1000)
	ask(313)
	ask(0)
	now = now.Add(pullExpiry + pullGrace + time.Second) // the server's word was lost
	ask(313)
}

// What was asked for in bytes is what it takes on its way; in memory it may take many times that.
func TestWindowBoundsMemory(t *testing.T) {
	limits := pullLimits{jobs: pullMessages, bytes: 1 << 30, expires: pullExpiry, largest: 1 << 10}
	w := newWindow(20_000, 16<<20)
	if r := w.ask(time.Now(), limits); r.bytes != pullBytes {
		t.Errorf("asked for %d bytes at first, want %d", r.bytes, pullBytes)
	}
	for w.holds(16 << 10) {
		w.came(1<<10, 16<<10)
		w.add(16 << 10)
	}
	if w.bytes > 16<<20 || w.bytes < 15<<20 {
		t.Errorf("%d bytes are held of 16 MiB", w.bytes)
	}
	for range 512 {
		w.remove(16 << 10)
	}
	w.forgetPulls()
	if r := w.ask(time.Now(), limits); r.bytes < 400<<10 || r.bytes > 600<<10 {
		t.Errorf("asked for %d bytes with 8 MiB free, of jobs that take sixteen times as much in memory", r.bytes)
	}
	limits.largest = 3 << 20
	w.forgetPulls()
	if r := w.ask(time.Now(), limits); r.bytes != 3<<20 {
		t.Errorf("asked for %d bytes where one job may have %d", r.bytes, 3<<20)
	}
	empty := newWindow(10, 100)
	if !empty.holds(1000) {
		t.Error("a job that is larger than the window is never held")
	}
}

// More than a server allows is not asked for again.
func TestPullLimitsAreLowered(t *testing.T) {
	for _, c := range []struct {
		text string
		want pullLimits
		ok   bool
	}{
		{"Exceeded MaxRequestBatch of 500", pullLimits{jobs: 500, bytes: 100, expires: time.Hour}, true},
		{"Exceeded MaxRequestMaxBytes of 50", pullLimits{jobs: 2000, bytes: 50, expires: time.Hour}, true},
		{"Exceeded MaxRequestExpires of 2.5s", pullLimits{jobs: 2000, bytes: 100, expires: 2500 * time.Millisecond}, true},
		{"Exceeded MaxRequestBatch of 0", pullLimits{jobs: 2000, bytes: 100, expires: time.Hour}, false},
		{"Exceeded MaxRequestBatch of x", pullLimits{jobs: 2000, bytes: 100, expires: time.Hour}, false},
		{"Exceeded MaxRequestSomething of 5", pullLimits{jobs: 2000, bytes: 100, expires: time.Hour}, false},
	} {
		l := pullLimits{jobs: 2000, bytes: 100, expires: time.Hour}
		if ok := l.lower(word{status: 409, text: c.text}); ok != c.ok || l != c.want {
			t.Errorf("%s: %v %+v, want %v %+v", c.text, ok, l, c.ok, c.want)
		}
	}
}

// A pull of which the server says nothing, or nonsense, has brought nothing, and the next one asks for it all.
func TestPullsThatBringNothing(t *testing.T) {
	now, limits := time.Now(), pullLimits{jobs: pullMessages, bytes: 1 << 30, expires: pullExpiry, largest: 1 << 10}
	for _, left := range []int{-1, 2000, 2001} {
		w := newWindow(2000, 1<<26)
		w.over(w.ask(now, limits).name, left)
		if r := w.ask(now, limits); r.jobs != 2000 || w.asked != 2000 {
			t.Errorf("left %d: asked for %d jobs, %d are to come", left, r.jobs, w.asked)
		}
	}
}

// What the server says decides whether a pull is over, is to be smaller, whether there is another consumer to look
// for, or nothing to hope for.
func TestWordsOfTheServer(t *testing.T) {
	for _, c := range []struct {
		status int
		text   string
		want   wordKind
	}{
		{100, "Idle Heartbeat", alive}, {404, "No Messages", pullOver}, {408, "Request Timeout", pullOver}, {409, "Batch Completed", pullOver},
		{409, "Exceeded MaxRequestBatch of 5", tooMuch}, {409, "Message Size Exceeds MaxBytes", tooLarge},
		{409, "Consumer Deleted", moved}, {409, "Leadership Change", moved}, {409, "Server Shutdown", moved}, {503, "", moved},
		{409, "Exceeded MaxWaiting", hopeless}, {409, "Consumer is push based", hopeless}, {400, "Bad Request", hopeless}, {0, "", hopeless},
	} {
		if got := (word{status: c.status, text: c.text}).kind(); got != c.want {
			t.Errorf("%d %s: %d, want %d", c.status, c.text, got, c.want)
		}
	}
}

// The server demands heartbeats in less than half of the time that a pull lasts.
func TestHeartbeatsOfShortPulls(t *testing.T) {
	for expires, want := range map[time.Duration]string{pullExpiry: `"idle_heartbeat":1000000000}`, 1500 * time.Millisecond: `"idle_heartbeat":500000000}`} {
		if got := string(request{jobs: 1, bytes: 1}.payload(pullLimits{expires: expires})); !strings.HasSuffix(got, want) {
			t.Errorf("a pull for %v: %s", expires, got)
		}
	}
}
