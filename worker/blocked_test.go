package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// gates is a schedule whose window is so small that eleven jobs behind gates crowd it. Projects whose names begin
// with "bad" share a credential.
func gates() (*schedule, time.Time) {
	credential := func(id string) any {
		if strings.HasPrefix(id, "bad") {
			return "bad"
		}
		return nil
	}
	return newSchedule(Config{Window: 80, Credential: credential}.withDefaults()), time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
}

// come has jobs of a project come, each with a text of its own, and returns how many do not wait here.
func come(s *schedule, now time.Time, project string, jobs int) (sentAway int) {
	for i := range jobs {
		l := &queue.Lease{Job: text(project, fmt.Sprint("text ", s.waiting.jobs, i), "a"), Priority: queue.Normal, Seq: uint64(i) + 1}
		if s.add(now, queue.NewLease(l, nil)) != nil {
			sentAway++
		}
	}
	return sentAway
}

// shutFor closes a gate of all calls for a while.
func shutFor(g *gate, now time.Time, d time.Duration) {
	g.closeByWord(now, Closure{Wait: d, Kind: chatapi.Credential, Status: 401})
}

// crowd fills the part of the window that is for jobs behind gates with those of projects whose gates are closed
// so shortly that each alone would wait here.
func crowd(t *testing.T, s *schedule, now time.Time) {
	t.Helper()
	for i, jobs := range []int{5, 5, 1} {
		id := fmt.Sprint("ill", i)
		shutFor(&s.project(id).gate, now, time.Second)
		if n := come(s, now, id, jobs); n != 0 {
			t.Fatalf("%d jobs of %s do not wait here", n, id)
		}
	}
	if !s.crowded() {
		t.Fatalf("%d jobs behind gates are no crowd", s.heldBack.jobs)
	}
}

// Where jobs behind gates crowd the window no more of them stay, not even as probes, whatever the gate is and
// however shortly it is closed. Others come and go.
func TestNoMoreWaitBehindGatesInACrowd(t *testing.T) {
	s, now := gates()
	if n := come(s, now, "well", 3); n != 0 {
		t.Fatalf("%d jobs do not wait here although nothing is wrong", n)
	}
	shutFor(&s.project("bad").credential.gate, now, time.Minute)
	crowd(t, s, now)
	for _, c := range []struct {
		project string
		want    int
	}{{"ill0", 1}, {"bad, and not known", 1}, {"new", 0}, {"well", 0}} {
		if n := come(s, now, c.project, 1); n != c.want {
			t.Errorf("a job of %q: %d do not wait here, want %d", c.project, n, c.want)
		}
	}
	if _, tasks := s.applyRemoteClosure(now, Closure{ProjectID: "well", Wait: time.Second, Kind: chatapi.Limited}); len(tasks) != 4 {
		t.Errorf("%d of 4 jobs leave when another gate closes", len(tasks))
	}
}

// Without a crowd a job behind each gate stays to probe it, the same when it is the gate of a credential that closes.
func TestAProbeStaysBehindEachGate(t *testing.T) {
	s, now := gates()
	for _, id := range []string{"bad1", "bad2"} {
		come(s, now, id, 3)
	}
	c := s.project("bad1").credential
	shutFor(&c.gate, now, time.Minute)
	if tasks := s.applyShared(now, c, gateFailed); len(tasks) != 4 || s.heldBack.jobs != 2 {
		t.Errorf("%d of 6 jobs leave, %d stay behind the gate; want one of each project to stay", len(tasks), s.heldBack.jobs)
	}
}

// Of a project of which one message failed, only what rests counts as held back.
func TestWhatRestsIsHeldBack(t *testing.T) {
	s, now := gates()
	come(s, now, "p", 4)
	p := s.project("p")
	p.gate.fail(now, now, &chatapi.Error{Kind: chatapi.Temporary, Status: 500}, "text", false, 0)
	f := p.flow(1)
	b := f.queue.filling[0]
	s.open.seal(b)
	s.sealed(b)
	f.queue.take(b)
	b.next().meet().notBefore = now.Add(time.Second)
	f.queue.takeBack(now, b)
	if s.recount(p); p.heldBack.jobs != 1 || s.heldBack != p.heldBack {
		t.Errorf("%+v of one project, and %+v of all, are held back; want one job", p.heldBack, s.heldBack)
	}
}

// What a project holds beyond its share while its calls fail does not come back before its gate opens.
func TestExcessWaitsForTheGate(t *testing.T) {
	s, now := gates()
	come(s, now, "p", 3)
	p := s.project("p")
	shutFor(&p.gate, now, time.Minute)
	for _, x := range s.deferExcess(now, p, 0) {
		if wait := x.back.Sub(now); wait != time.Minute {
			t.Errorf("a job comes back after %v, the gate opens after 1m", wait)
		}
	}
	if p.waiting.jobs != 0 {
		t.Errorf("%d jobs stay", p.waiting.jobs)
	}
}

// A job of which something is known is not deferred for its project's excess.
func TestTouchedJobsAreNoExcess(t *testing.T) {
	s, now := gates()
	come(s, now, "p", 2)
	p := s.project("p")
	p.flow(1).queue.filling[0].parts[0].recipients[0].task.marked = true
	if tasks := s.deferExcess(now, p, 1); len(tasks) != 1 || p.waiting.jobs != 1 {
		t.Errorf("%d jobs are deferred, %d stay; want one of each", len(tasks), p.waiting.jobs)
	}
}

// A few failures of which messages may be the cause close no credential with which others are accepted in between.
func TestFailuresOfACredentialAreCountedFromTheLastSuccess(t *testing.T) {
	c, now := &credential{}, time.Now()
	forbidden := &result{err: &chatapi.Error{Kind: chatapi.Credential, Status: 403}}
	for range 3 {
		for i := range sharedFailures - 1 {
			c.ended(now, now, fmt.Sprint("p", i%2), false, forbidden, 0)
		}
		if c.gate.err != nil {
			t.Fatalf("the credential is suspicious: %+v", c.gate)
		}
		c.ended(now, now, "well", false, &result{}, 0)
	}
}

// A credential that failed is remembered for a while after its last project was forgotten.
func TestCredentialsAreRemembered(t *testing.T) {
	s, now := gates()
	s.abandon(s.project("bad"))
	shutFor(&s.credentials["bad"].gate, now, time.Minute)
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{time.Minute, 1}, {time.Minute + gateMemory, 1}, {2*time.Minute + gateMemory, 0}} {
		if s.forgetCredentials(now.Add(c.after)); len(s.credentials) != c.want {
			t.Errorf("%d credentials are remembered after %v, want %d", len(s.credentials), c.after, c.want)
		}
	}
}

// When a credential is accepted again, or another one takes its place, the projects that failed with it are probed
// one after another.
func TestProjectsAreProbedOneAfterAnother(t *testing.T) {
	for name, change := range map[string]func(*schedule, time.Time){
		"accepted": func(s *schedule, now time.Time) { s.applyShared(now, s.credentials["bad"], gateOpened) },
		"changed": func(s *schedule, now time.Time) {
			s.cfg.Credential = func(string) any { return "another" }
			s.credentialsChanged(now)
		},
	} {
		s, now := gates()
		all := map[time.Time]bool{}
		for _, id := range []string{"bad1", "bad2", "bad3"} {
			shutFor(&s.project(id).gate, now, time.Minute)
		}
		change(s, now)
		for _, p := range s.projects {
			all[p.gate.until] = true
		}
		for i := range 3 {
			if at := now.Add(time.Duration(i) * probeStep); !all[at] {
				t.Errorf("%s: no project is probed at %v: %v", name, at, all)
			}
		}
	}
}

// Jobs fill a window, or a share of it, by their bytes as well as by their number.
func TestAmountsCountBytes(t *testing.T) {
	few, many := amount{1, 900}, amount{90, 1}
	window := amount{100, 1000}
	if few.fills(window) != 0.9 || many.fills(window) != 0.9 {
		t.Errorf("they fill %v and %v of the window", few.fills(window), many.fills(window))
	}
	share := amount{10, 100}
	if !few.exceeds(share) || !many.exceeds(share) || share.exceeds(share) {
		t.Error("what exceeds a share does not, or what does not does")
	}
}
