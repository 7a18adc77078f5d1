package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

const (
	cafe     = "0f8fad5b-d9cb-469f-a165-70867728950e"
	festival = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
)

// newOps is an installation of its own.
func newOps(t testing.TB) (*Ops, *queue.Queue) {
	t.Helper()
	b, err := StartBroker(broker.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	q, err := queue.Connect(t.Context(), queue.Config{URL: b.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	if _, err := q.Init(t.Context(), queue.InitConfig{}); err != nil {
		t.Fatal(err)
	}
	return New(q), q
}

// letter is the n-th of a test.
func letter(n int, project string, reason queue.Reason, ids ...string) queue.DeadLetter {
	l := queue.DeadLetter{
		JobID: fmt.Sprint("job-", n), ProjectID: project, Priority: queue.Normal, Message: "Your coffee is ready.", WovenIDs: ids,
		Reason: reason, Failures: []queue.Failure{{WovenIDs: ids, Detail: "why"}},
		History: queue.History{Attempts: 1, PublishedAt: time.Now().Add(-time.Hour)}, FailedAt: time.Now(), Origin: fmt.Sprint("normal-", n),
	}
	if reason == queue.Invalid {
		l.Raw = []byte("not a job")
	}
	return l
}

func bury(t testing.TB, q *queue.Queue, letters ...queue.DeadLetter) {
	t.Helper()
	if _, err := q.Bury(t.Context(), letters); err != nil {
		t.Fatal(err)
	}
}

func plan(t *testing.T, o *Ops, act Action, f queue.Filter) Plan {
	t.Helper()
	p, err := o.Plan(t.Context(), act, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// remaining are the numbers of the letters that are there.
func remaining(t *testing.T, o *Ops) (seqs []uint64) {
	t.Helper()
	if err := o.Letters(t.Context(), queue.Filter{}, func(l Letter) bool { seqs = append(seqs, l.Seq); return true }); err != nil {
		t.Fatal(err)
	}
	return seqs
}

func queued(t *testing.T, o *Ops) uint64 {
	t.Helper()
	st, err := o.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st.Queued + st.Due
}

func TestLetters(t *testing.T) {
	o, q := newOps(t)
	bury(t, q, letter(1, cafe, queue.Rejected, "w-1"), letter(2, festival, queue.Expired, "w-2"))
	var found []string
	err := o.Letters(t.Context(), queue.Filter{Project: festival}, func(l Letter) bool {
		found = append(found, fmt.Sprintf("%d %s %s", l.Seq, l.JobID, l.Origin))
		return true
	})
	if err != nil || !slices.Equal(found, []string{"2 job-2 normal-2"}) {
		t.Errorf("found %q (%v)", found, err)
	}
	l, err := o.Letter(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(l)
	if err != nil || !strings.HasPrefix(string(text), `{"seq":1,"job_id":"job-1",`) || !strings.HasSuffix(string(text), `"where":"normal-1"}`) {
		t.Errorf("as JSON: %s (%v)", text, err)
	}
	if _, err := o.Letter(t.Context(), 9); !errors.Is(err, queue.ErrNoLetter) {
		t.Errorf("a letter that is not there: %v", err)
	}
}

func TestPlanGroupsAndChangesNothing(t *testing.T) {
	o, q := newOps(t)
	bury(t, q, letter(1, festival, queue.Rejected, "w-1", "w-2"), letter(2, cafe, queue.Rejected, "w-1"), letter(3, cafe, queue.Expired, "w-1"),
		letter(4, festival, queue.Rejected, "w-3"), letter(5, queue.UnknownProject, queue.Invalid))
	groups := []Group{{cafe, queue.Expired, 1, 1}, {cafe, queue.Rejected, 1, 1}, {festival, queue.Rejected, 2, 3}}
	p := plan(t, o, Replay, queue.Filter{})
	if !slices.Equal(p.Seqs, []uint64{1, 2, 3, 4}) || p.Recipients != 5 || p.Invalid != 1 || !slices.Equal(p.Groups, groups) {
		t.Errorf("to replay: %+v", p)
	}
	p = plan(t, o, Drop, queue.Filter{})
	if !slices.Equal(p.Seqs, []uint64{1, 2, 3, 4, 5}) || p.Invalid != 0 || !slices.Equal(p.Groups, append(groups, Group{queue.UnknownProject, queue.Invalid, 1, 0})) {
		t.Errorf("to drop: %+v", p)
	}
	if p = plan(t, o, Drop, queue.Filter{Job: "none"}); len(p.Seqs) > 0 || p.Groups == nil {
		t.Errorf("nothing: %+v", p)
	}
	if n := len(remaining(t, o)); n != 5 || queued(t, o) != 0 {
		t.Errorf("planning left %d letters", n)
	}
}

func TestReplayActsOnThePlanOnly(t *testing.T) {
	o, q := newOps(t)
	bury(t, q, letter(1, cafe, queue.Rejected, "w-1"), letter(2, cafe, queue.Rejected, "w-2"), letter(3, cafe, queue.Rejected, "w-3"))
	p := plan(t, o, Replay, queue.Filter{})
	bury(t, q, letter(4, cafe, queue.Rejected, "w-4")) // comes meanwhile
	if err := q.Drop(t.Context(), 2); err != nil {     // goes meanwhile
		t.Fatal(err)
	}
	var seen []int
	got, err := o.Act(t.Context(), p, func(n int) { seen = append(seen, n) })
	if err != nil || !same(got, Result{Done: 2, Gone: 1}) || !slices.Equal(seen, []int{1, 2, 3}) {
		t.Errorf("%+v, %v; progress %v", got, err, seen)
	}
	if left := remaining(t, o); !slices.Equal(left, []uint64{4}) || queued(t, o) != 2 {
		t.Errorf("letters %v and %d jobs are left", left, queued(t, o))
	}
	if got, err := o.Act(t.Context(), p, nil); err != nil || !same(got, Result{Gone: 3}) || queued(t, o) != 2 {
		t.Errorf("repeated: %+v, %v", got, err)
	}
}

func TestDrop(t *testing.T) {
	o, q := newOps(t)
	bury(t, q, letter(1, cafe, queue.Rejected, "w-1"), letter(2, queue.UnknownProject, queue.Invalid))
	got, err := o.Act(t.Context(), plan(t, o, Drop, queue.Filter{Reason: queue.Invalid}), nil)
	if err != nil || !same(got, Result{Done: 1}) || queued(t, o) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if left := remaining(t, o); !slices.Equal(left, []uint64{1}) {
		t.Errorf("letters %v are left", left)
	}
}

// Interrupted, what was begun is finished, the rest stays as it was, and doing it again finishes it.
func TestInterrupted(t *testing.T) {
	o, q := newOps(t)
	var letters []queue.DeadLetter
	for n := range 200 {
		letters = append(letters, letter(n+1, cafe, queue.Rejected, "w-1"))
	}
	bury(t, q, letters...)
	p := plan(t, o, Replay, queue.Filter{})
	ctx, cancel := context.WithCancel(t.Context())
	got, err := o.Act(ctx, p, func(int) { cancel() })
	if !errors.Is(err, ErrInterrupted) || got.Done == 0 || got.Done > 2*atOnce || got.Gone != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if left, jobs := len(remaining(t, o)), int(queued(t, o)); left != 200-got.Done || jobs != got.Done {
		t.Errorf("%d done, but %d letters and %d jobs", got.Done, left, jobs)
	}
	rest, err := o.Act(t.Context(), p, nil)
	if err != nil || rest.Done != 200-got.Done || rest.Gone != got.Done || queued(t, o) != 200 {
		t.Errorf("again: %+v, %v", rest, err)
	}
}

// What was begun is not cut off.
func TestInterruptedFinishesWhatWasBegun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	got, err := each(ctx, []uint64{1, 2, 3}, func(one context.Context, _ uint64) error {
		cancel()
		return one.Err()
	}, nil)
	if got.Done == 0 || (err == nil) != (got.Done == 3) || err != nil && !errors.Is(err, ErrInterrupted) {
		t.Errorf("%+v, %v", got, err)
	}
}

func same(a, b Result) bool {
	return a.Done == b.Done && a.Gone == b.Gone && a.Failed == b.Failed && slices.Equal(a.Failures, b.Failures)
}

// Letters that cannot be replayed stay, and do not keep the others from being replayed.
func TestActGoesOnAfterALetterThatFails(t *testing.T) {
	o, q := newOps(t)
	var all []queue.DeadLetter
	for n := range 300 {
		l := letter(n+1, cafe, queue.Rejected, "w-1")
		if n%20 == 5 {
			l.Priority = "odd"
		}
		all = append(all, l)
	}
	bury(t, q, all...)
	for run, want := range []Result{{Done: 285, Failed: 15}, {Failed: 15}} {
		got, err := o.Act(t.Context(), plan(t, o, Replay, queue.Filter{}), nil)
		if err != nil || got.Done != want.Done || got.Failed != want.Failed || len(got.Failures) != maxFailures || got.Failures[0].Seq != 6 || !strings.Contains(got.Failures[0].Reason, `"odd"`) {
			t.Errorf("run %d: %+v, %v", run, got, err)
		}
		if left, jobs := len(remaining(t, o)), queued(t, o); left != 15 || jobs != 285 {
			t.Errorf("run %d left %d letters and made %d jobs", run, left, jobs)
		}
	}
	if _, err := o.Act(t.Context(), Plan{Action: "pause", Seqs: []uint64{1}}, nil); err == nil {
		t.Error("an action that does not exist was done")
	}
}

// What concerns all letters ends it.
func TestActStopsEarly(t *testing.T) {
	letters := make([]uint64, 1000)
	for i := range letters {
		letters[i] = uint64(i + 1)
	}
	for _, cause := range []error{queue.ErrFull, queue.ErrNoStream, errors.New("connection closed")} {
		got, err := each(t.Context(), letters, func(_ context.Context, seq uint64) error {
			if seq > 50 {
				return fmt.Errorf("replay letter %d: %w", seq, cause)
			}
			return nil
		}, nil)
		if !errors.Is(err, cause) || got.Done != 50 || got.Failed != 0 {
			t.Errorf("%v: %+v, %v", cause, got, err)
		}
	}
}

func TestStatus(t *testing.T) {
	o, q := newOps(t)
	job := queue.Job{ProjectID: cafe, Message: "m", WovenIDs: []string{"w-1"}}
	if _, err := q.Publisher(queue.PublisherConfig{}).Publish(t.Context(), queue.Normal, job); err != nil {
		t.Fatal(err)
	}
	bury(t, q, letter(1, cafe, queue.Rejected, "w-1"))
	st, err := o.Status(t.Context())
	if err != nil || !st.Unattended || st.Queued != 1 || st.Dead != 1 || len(st.Closed) != 0 {
		t.Errorf("without a worker: %+v, %v", st, err)
	}
	soon, later := time.Now().Add(time.Minute), time.Now().Add(time.Hour)
	for _, gates := range [][]queue.GateStatus{
		{{ProjectID: festival, Kind: "temporary", Status: 503, Until: soon, Detail: "down", Advice: "wait and see"}, {ProjectID: cafe, Kind: "temporary", Until: soon, Advice: "not this"}},
		{{ProjectID: cafe, Kind: "credential", Status: 401, Until: later}},
	} {
		stop, err := q.Announce(map[string]string{"host": "h"}, func() queue.WorkerState { return queue.WorkerState{Gates: gates} })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	if st, err = o.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st.Unattended || len(st.Workers) != 2 || len(st.Closed) != 2 {
		t.Fatalf("with two workers: %+v", st)
	}
	if g := st.Closed[0]; g.ProjectID != cafe || g.Kind != "credential" || g.Until.Sub(later).Abs() > 5*time.Second || !strings.Contains(g.Advice, "secret") {
		t.Errorf("the gate that is closed longest: %+v", g)
	}
	if g := st.Closed[1]; g.ProjectID != festival || g.Status != 503 || g.Detail != "down" || g.Advice != "wait and see" {
		t.Errorf("the other gate: %+v", g)
	}
}
