package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// What workers tell each other of times holds whatever their clocks say: a worker that is 300 s ahead or
// behind says for how long, and what it says until when is not believed.
func TestDurationsTravel(t *testing.T) {
	now := time.Now()
	for _, skew := range []time.Duration{-300 * time.Second, 0, 300 * time.Second} {
		theirs := now.Add(skew)
		data, err := json.Marshal(gateMessageOf(GateStatus{ProjectID: job("u", "m", "w").ProjectID, Kind: "limited", Status: 429, Until: theirs.Add(3 * time.Second), From: "w1"}, theirs))
		if err != nil {
			t.Fatal(err)
		}
		if g, err := decodeGate(data, now); err != nil || !g.Until.Equal(now.Add(3*time.Second)) || g.Kind != "limited" || g.Status != 429 || g.From != "w1" {
			t.Errorf("skew %v: heard %+v, %v", skew, g, err)
		}
		answer, err := encodeWorker(WorkerStatus{ID: "w1", WorkerState: WorkerState{
			Gates:      []GateStatus{{ProjectID: "p", Until: theirs.Add(3 * time.Second)}, {ProjectID: "q", Until: theirs.Add(-time.Minute)}},
			Conditions: []Condition{{What: "write dead letters", Since: theirs.Add(-time.Minute)}},
		}}, theirs)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(data) + string(answer); strings.Contains(text, `"until"`) || strings.Contains(text, `"since"`) {
			t.Errorf("a time travels: %s", text)
		}
		w, ok := decodeWorker(answer, now)
		if !ok || len(w.Gates) != 2 || !w.Gates[0].Until.Equal(now.Add(3*time.Second)) || !w.Gates[1].Until.Equal(now) ||
			len(w.Conditions) != 1 || !w.Conditions[0].Since.Equal(now.Add(-time.Minute)) {
			t.Errorf("skew %v: the answer says %+v", skew, w)
		}
	}
	// Of a worker of an earlier version, and of anybody.
	w, ok := decodeWorker([]byte(`{"id":"w1","gates":[{"project_id":"p","until":"2099-01-01T00:00:00Z"},{"project_id":"q","wait_ms":1e300}],"conditions":[{"what":"x","since":"1970-01-01T00:00:00Z","lasts_ms":-1e300}]}`), now)
	if !ok || !w.Gates[0].Until.Equal(now) || !w.Gates[1].Until.Equal(now.Add(maxWait)) || !w.Conditions[0].Since.Equal(now) {
		t.Errorf("foreign words: %v, %+v", ok, w)
	}
}

// Only what says of which project, for how long and by whom is an announcement; the others are counted.
func TestGatesOfAnybody(t *testing.T) {
	q, b := newQueueAt(t)
	other := connect(t, b)
	heard, refused := make(chan GateStatus, 100), make(chan error, 100)
	stop, err := q.SubscribeGates(func(g GateStatus) { heard <- g }, func(err error) { refused <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := q.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	project := job("u", "m", "w").ProjectID
	bad := []string{
		``, `[]`, `null`, `{}`, "\xff",
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":"w1"}`, project),
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":"w1","until":"2099-01-01T00:00:00Z"}`, project),
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":"w1","wait_ms":0}`, project),
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":"w1","wait_ms":-5}`, project),
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":"w1","wait_ms":"3000"}`, project),
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":"w1","wait_ms":3000,"status":-1}`, project),
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","wait_ms":3000}`, project),
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":"w\u001b[2J","wait_ms":3000}`, project),
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":%q,"wait_ms":3000}`, project, strings.Repeat("w", 65)),
		`{"project_id":"p","kind":"limited","from":"w1","wait_ms":3000}`,
		fmt.Sprintf(`{"project_id":%q,"kind":"limited","from":"w1","wait_ms":3000,"detail":%q}`, project, strings.Repeat("x", maxGateMessage)),
	}
	for _, text := range bad {
		if err := other.nc.Publish(gatesSubject, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.PublishGate(GateStatus{ProjectID: project, Kind: "mine", Until: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if err := q.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := other.PublishGate(GateStatus{ProjectID: project, Kind: strings.Repeat("k", 9999), Status: 429, Until: time.Now().Add(9 * time.Hour), Detail: "secret", Advice: "none"}); err != nil {
		t.Fatal(err)
	}
	select {
	case g := <-heard:
		if wait := time.Until(g.Until); len(g.Kind) != maxWords || g.Status != 429 || g.From != other.id || g.Detail+g.Advice != "" || wait > maxWait || wait < maxWait-time.Minute {
			t.Errorf("heard %d bytes of kind, wait %v, %+v", len(g.Kind), wait, g)
		}
	case <-deadline(t).Done():
		t.Fatal("heard nothing")
	}
	if len(refused) != len(bad) || len(heard) != 0 {
		t.Errorf("%d of %d refused, %d more heard", len(refused), len(bad), len(heard))
	}
}

// A flood is cut short, and no error of the connection says so for each message.
func TestFloodOfGates(t *testing.T) {
	errs := make(chan error, 100_000)
	_, b := newQueueAt(t)
	q, err := Connect(t.Context(), Config{URL: b.URL(), OnConnection: func(err error) { errs <- err }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	other := connect(t, b)
	first, goOn := make(chan struct{}, 1), make(chan struct{})
	heard := 0
	stop, err := q.SubscribeGates(func(GateStatus) {
		heard++
		select {
		case first <- struct{}{}:
		default:
		}
		<-goOn
	}, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := q.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	const flood = 20 * maxGatesHeard
	g := GateStatus{ProjectID: job("u", "m", "w").ProjectID, Kind: "limited", Until: time.Now().Add(time.Minute)}
	for range flood {
		if err := other.PublishGate(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	<-first
	if err := q.nc.Flush(); err != nil { // what was sent has arrived
		t.Fatal(err)
	}
	close(goOn)
	stop()
	if len(errs) != 0 {
		t.Errorf("%d errors of the connection, such as %v", len(errs), <-errs)
	}
	if heard > flood/2 {
		t.Errorf("%d of %d were heard", heard, flood)
	}
}

// The answers to one question are bounded, whoever answers.
func TestManyWorkersAnswer(t *testing.T) {
	q, b := newQueueAt(t)
	other := connect(t, b)
	for _, c := range []struct {
		answers int
		info    string
		want    int
	}{{3, "x", 3}, {maxWorkers + 500, "x", maxWorkers}, {200, strings.Repeat("x", 1<<19), maxWorkersSize>>19 + 1}} {
		sub, err := other.nc.SubscribeSync(workersSubject)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		done := make(chan []WorkerStatus)
		go func() {
			found, err := q.workers(t.Context(), 3*time.Second+time.Duration(len(c.info))*30*time.Microsecond) // the largest take long under load
			if err != nil {
				t.Error(err)
			}
			done <- found
		}()
		msg, err := sub.NextMsgWithContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for n := range c.answers {
			if err := msg.Respond([]byte(fmt.Sprintf(`{"id":"w%d","info":{"host":%q}}`, n, c.info))); err != nil {
				t.Fatal(err)
			}
		}
		if found := <-done; len(found) > c.want || len(found) < min(c.want, c.answers)-2 || len(found[0].Info["host"]) > maxWords {
			t.Errorf("%d answers: %d found, want %d", c.answers, len(found), c.want)
		}
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
}
