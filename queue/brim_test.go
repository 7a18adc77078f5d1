package queue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// NOTIFY_LATER cannot refuse anything: with a max_bytes it drops the oldest. So nothing is deferred that would
// not fit: what can be found out again waits in its stream, and what cannot stays with the worker, who is told.
func TestNothingIsDeferredInPlaceOfWhatWaits(t *testing.T) {
	t.Parallel()
	rejected := []DeadLetter{{ProjectID: projectA, Priority: Normal, Message: strings.Repeat("x", 16000), WovenIDs: []string{"w"}, Reason: Rejected}}
	for _, test := range []struct {
		name  string
		known func(d *Deferral) // what is known of each job
		stays bool
	}{
		{"tried", func(d *Deferral) { d.History.Attempts = 1 }, false},
		{"tried, may have been told", func(d *Deferral) { d.History.Attempts, d.History.Ambiguous = 1, []Tried{{Calls: 1, Recipients: 1}} }, true},
		{"rejected", func(d *Deferral) { d.WovenIDs, d.Letters = []string{}, rejected }, true},
		{"invalid", func(d *Deferral) {
			d.Lease.Invalid, d.WovenIDs = invalid("it is nothing"), []string{}
			d.Letters = []DeadLetter{{ProjectID: UnknownProject, Priority: Normal, Reason: Invalid, Raw: []byte(strings.Repeat("x", 16000))}}
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			q, _ := newQueueAt(t)
			if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
				t.Fatal(err)
			}
			jobs := openJobs(t, q, JobsConfig{})
			later := boundLater(t, q, 512<<10)
			publish(t, q, Normal, job("first", "oldest", "w"))
			deferAll(t, jobs, 1, time.Now().Add(time.Hour))
			const n = 60
			kept := 0
			for i := range n {
				publish(t, q, Normal, job(fmt.Sprint("j", i), strings.Repeat("x", 16000), "w"))
				l := take(t, jobs, 1)[0]
				d := Deferral{Lease: l, At: time.Now().Add(time.Hour)}
				test.known(&d)
				switch err := Defer(deadline(t), []Deferral{d}); {
				case errors.Is(err, ErrFull):
					kept++
				case err != nil:
					t.Fatal(err)
				}
			}
			info, err := later.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			state := info.State
			if state.FirstSeq != 1 || state.Msgs < 10 || int(state.Msgs)-1+jobs.Delayed()+kept != n {
				t.Errorf("of %d jobs %d wait in %s, from %d on, %d in their stream, and %d stay", n, state.Msgs-1, LaterStream, state.FirstSeq, jobs.Delayed(), kept)
			}
			if test.stays != (kept > 0) || test.stays == (jobs.Delayed() > 0) {
				t.Errorf("%d stay, %d were given back", kept, jobs.Delayed())
			}
		})
	}
}

// boundLater gives NOTIFY_LATER a smaller max_bytes than init allows, which would take long to fill.
func boundLater(t *testing.T, q *Queue, bytes int64) jetstream.Stream {
	t.Helper()
	later, err := q.js.Stream(t.Context(), LaterStream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := later.CachedInfo().Config
	cfg.MaxBytes = bytes
	if _, err := q.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return later
}

// What is deferred again takes the place that it had, although it is written before that is taken out.
func TestDeferringAgainDropsNothing(t *testing.T) {
	t.Parallel()
	q, _ := newQueueAt(t)
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	jobs := openJobs(t, q, JobsConfig{})
	const n = 60
	for i := range n {
		publish(t, q, Normal, job(fmt.Sprint("j", i), strings.Repeat("x", 16000), "w"))
	}
	deferAll(t, jobs, n, time.Now().Add(time.Second))
	boundLater(t, q, 1<<20)
	deferAll(t, jobs, n, time.Now().Add(time.Hour))
	if st := statusOf(t, q); st.Scheduled != n {
		t.Errorf("of %d jobs %d are scheduled", n, st.Scheduled)
	}
}

// A job that may have been deferred already is due at once, and has to go through NOTIFY_LATER. So there is room for
// it when what waits may take no more, and none of it is taken in and given back without end.
func TestRoomForWhatIsDue(t *testing.T) {
	t.Parallel()
	q, _ := newQueueAt(t)
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	jobs := openJobs(t, q, JobsConfig{})
	boundLater(t, q, 1<<20)
	tried := func(l *Lease, at time.Time) Deferral {
		d := Deferral{Lease: l, At: at, History: l.History}
		d.History.Attempts = 1
		return d
	}
	for i := range 80 {
		publish(t, q, Normal, job(fmt.Sprint("j", i), strings.Repeat("x", 16000), "w"))
		if err := Defer(deadline(t), []Deferral{tried(take(t, jobs, 1)[0], time.Now().Add(time.Hour))}); err != nil {
			t.Fatal(err)
		}
	}
	waiting := jobs.Delayed()
	publish(t, q, Urgent, job("due", "small", "w"))
	if err := Defer(deadline(t), []Deferral{tried(take(t, jobs, 1)[0], time.Now())}); err != nil {
		t.Fatal(err)
	}
	if l := take(t, jobs, 1)[0]; l.Stream != LaterStream || l.Job.ID != "due" || waiting == 0 {
		t.Errorf("%s came from %s; %d of the others wait in their stream", l.Job.ID, l.Stream, waiting)
	}
	for i := range 20 { // more than there is room for
		publish(t, q, Bulk, job(fmt.Sprint("k", i), strings.Repeat("x", 16000), "w"))
	}
	var all []Deferral
	for _, l := range take(t, jobs, 20) {
		all = append(all, tried(l, time.Now()))
	}
	if err := Defer(deadline(t), all); err != nil {
		t.Fatal(err)
	}
	if n := jobs.Delayed() - waiting; n == 0 {
		t.Error("all that is due was written")
	}
}

// What is split off goes to NOTIFY_LATER only while that drops nothing for it.
func TestSplitDropsNothing(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, LaterStream, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 })
	jobs := jobsWithoutCheck(t, q, JobsConfig{})
	const all = 100
	for i := range all {
		publish(t, q, Normal, job(fmt.Sprint("j", i), strings.Repeat("x", 16000), "a", "b"))
	}
	full := 0
	for _, l := range take(t, jobs, all) {
		switch err := jobs.Split(deadline(t), l, 1); {
		case errors.Is(err, ErrFull):
			full++
		case err != nil:
			t.Fatal(err)
		}
	}
	if later := stored(t, q, LaterStream); later+full != all || full == 0 || later < all/3 {
		t.Errorf("of %d jobs %d were split, for %d there was no room", all, later, full)
	}
}
