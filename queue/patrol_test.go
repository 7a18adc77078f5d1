package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/queue/broker"
)

// later publishes schedules as Defer does.
func later(t *testing.T, q *Queue, n int, at time.Time) {
	t.Helper()
	msgs := make([]*nats.Msg, n)
	for i := range msgs {
		l := &Lease{Stream: "NOTIFY_NORMAL", Seq: uint64(i + 1), Priority: Normal}
		msg, err := requeueMessage(l, job(fmt.Sprint("later-", i), "m", "w"), History{PublishedAt: time.Now(), LastError: "503"})
		if err != nil {
			t.Fatal(err)
		}
		msg.Header.Set(jetstream.MsgIDHeader, "later."+l.Origin())
		schedule(msg, laterSubject(projectA, l.Origin()), at)
		msgs[i] = msg
	}
	if err := q.publishAll(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
}

func statusOf(t *testing.T, q *Queue) Status {
	t.Helper()
	st, err := q.Status(deadline(t), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// nats-server forgets schedules whose messages could not be stored because its storage was full. Once there is
// room again a patrol has them fire, once each.
func TestSchedulesThatTheServerForgotFire(t *testing.T) {
	t.Parallel()
	b := newServer(t, broker.Config{Dir: t.TempDir(), MaxStore: 16 << 20})
	q := connect(t, b)
	if _, err := q.Init(t.Context(), InitConfig{MaxBytes: -1}); err != nil {
		t.Fatal(err)
	}
	const n = 200
	later(t, q, n, time.Now().Add(2*time.Second))
	fill := strings.Repeat("x", 200<<10)
	for full := false; !full; {
		_, err := q.js.Publish(t.Context(), deadPrefix+projectA+".rejected.fill", []byte(fill))
		if err == nil {
			_, err = q.js.Publish(t.Context(), JobSubject(Bulk, projectA), []byte(fill))
		}
		full = err != nil
	}
	for full := false; !full; { // to the last bytes
		_, err := q.js.Publish(t.Context(), JobSubject(Bulk, projectA), nil)
		full = err != nil
	}
	time.Sleep(4 * time.Second) // they come due, and cannot be stored
	bulk, err := q.js.Stream(t.Context(), JobStream(Bulk))
	if err != nil {
		t.Fatal(err)
	}
	if err := bulk.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	if st := statusOf(t, q); st.Scheduled == 0 {
		t.Fatalf("the server forgot none of its schedules: %+v", st)
	} else {
		t.Logf("%d of %d schedules were forgotten", st.Scheduled, n)
	}

	q.clock.offset = time.Minute // so that they are overdue
	p := patrol{q: q}
	found, err := p.walk(t.Context())
	if !found || err != nil {
		t.Fatalf("the patrol found %v, %v", found, err)
	}
	jobs := openJobs(t, q, JobsConfig{})
	seen := map[string]bool{}
	for _, l := range take(t, jobs, n) {
		if seen[l.Job.ID] || l.LastError != "503" {
			t.Errorf("lease %+v", l)
		}
		seen[l.Job.ID] = true
	}
	if st := statusOf(t, q); st.Scheduled != 0 || st.Due != 0 || len(seen) != n {
		t.Errorf("%d jobs came; status %+v", len(seen), st)
	}
}

// Several workers patrol at the same time, while the server goes on firing.
func TestPatrolRevivesNothing(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	later(t, q, 1, time.Now().Add(time.Hour))
	if msgs, err := q.readSchedules(t.Context(), 0); err != nil || len(msgs) != 1 {
		t.Fatalf("schedules %v, %v", msgs, err)
	} else if err := q.fireAgain(t.Context(), []*nats.Msg{msgs[0].again(), msgs[0].again()}); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, q, LaterStream); n != 1 {
		t.Errorf("%d messages after one schedule was written again twice", n)
	}
	msgs, err := q.readSchedules(t.Context(), 0)
	if err != nil || len(msgs) != 1 {
		t.Fatalf("schedules %v, %v", msgs, err)
	}
	if at, readable := msgs[0].due(); !readable || time.Until(at) < 50*time.Minute {
		t.Errorf("written again for %v", at)
	}
	if err := q.remove(t.Context(), LaterStream, msgs[0].lease().place()); err != nil { // as if it had fired
		t.Fatal(err)
	}
	if err := q.fireAgain(t.Context(), []*nats.Msg{msgs[0].again()}); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, q, LaterStream); n != 0 {
		t.Errorf("%d messages: a schedule that had fired was revived", n)
	}
}

// What stands among the schedules and is none would wait for ever, unseen.
func TestMessageWithoutATimeBecomesALetter(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for _, subject := range []string{"notify.later.x", "notify.later." + projectA + ".oops"} {
		if _, err := q.js.Publish(t.Context(), subject, []byte("lost")); err != nil {
			t.Fatal(err)
		}
	}
	later(t, q, 3, time.Now().Add(time.Hour))
	foreign := &nats.Msg{Subject: "notify.later." + projectA + ".every", Header: nats.Header{}}
	foreign.Header.Set(headerSchedule, "@every 1h") // which fires
	foreign.Header.Set(headerTarget, duePrefix+"normal."+projectA)
	if _, err := q.js.PublishMsg(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	p := patrol{q: q}
	if found, err := p.walk(t.Context()); !found || err != nil {
		t.Fatalf("the patrol found %v, %v", found, err)
	}
	all := letters(t, q, Filter{})
	if len(all) != 2 || all[0].Reason != Invalid || string(all[0].Raw) != "lost" || all[0].ProjectID != UnknownProject || all[1].ProjectID != projectA {
		t.Errorf("letters %+v", all)
	}
	if st := statusOf(t, q); st.Scheduled != 4 || st.Dead != 2 {
		t.Errorf("status %+v", st)
	}
	if found, err := p.walk(t.Context()); found || err != nil {
		t.Errorf("found once more: %v, %v", found, err)
	}
}

// A patrol reads on where it ended, leaves nothing out, and then begins anew.
func TestPatrolReadsEverything(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	var msgs []*nats.Msg
	for i := range patrolMessages + 1 {
		msgs = append(msgs, &nats.Msg{Subject: fmt.Sprintf("notify.later.%s.%d", projectA, i)})
	}
	p := patrol{q: q}
	for range 2 {
		if err := q.publishAll(t.Context(), msgs); err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{true, true, false} {
			if found, err := p.walk(t.Context()); found != want || err != nil {
				t.Errorf("step %d: found %v, %v", i, found, err)
			}
		}
		if n := stored(t, q, LaterStream); n != 0 {
			t.Errorf("%d messages were left out", n)
		}
	}
}

// A schedule is overdue if it should have fired half a minute ago, and was not written anew since.
func TestWhatWasJustWrittenIsNotOverdue(t *testing.T) {
	now := time.Now()
	old, fresh := now.Add(-overdueAfter-time.Second), now.Add(-overdueAfter+time.Second)
	for _, c := range []struct {
		at, stored time.Time
		want       bool
	}{{old, old, true}, {fresh, old, false}, {old, fresh, false}} {
		if got := (scheduled{stored: c.stored}).overdue(c.at, now); got != c.want {
			t.Errorf("due %v ago, stored %v ago: overdue %v", now.Sub(c.at), now.Sub(c.stored), got)
		}
	}
}
