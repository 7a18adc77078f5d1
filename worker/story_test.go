package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// TestStories runs the stories in testdata/stories, one for each rule: jobs come, calls go and come
// back, time passes, and what the core does stands beneath. A story that no longer holds is written
// anew by: go test ./worker -run TestStories -rewrite
//
//	new concurrency=64 linger=20ms …        a core of this configuration (names as in Config)
//	jobs project=p [message=hello] [to=(a,b)] [n=3] [distinct] [priority=urgent] [behind=9]
//	     [deliver=1h] [later] [expires=1h] [age=1h] [attempts=1] [last-error=x] [redelivered] [deferrals=1]
//	     [tried=(2*1,1*3)] [call-size=2] [suspected=4]   what its history says
//	                                        n jobs: of one message to n recipients, or of distinct ones
//	answer 1 2 5-9 [status=503] [reject=(b)] [retry-after=3s] [ambiguous] [unreadable] [unsent]
//	                                        the calls with these numbers come back; all: the last one,
//	                                        and what follows it, until none follows
//	pass 100ms                              time passes
//	lapse 3                                 the lease on job 3 lapses
//	work ack=fail|hang|do                   what becomes of acks (bury, defer) from now on
//	close-gate project=p for=3h [forbidden] another worker reports that its gate closed
//	credentials p=x q=x                     these projects have these credentials from now on
//	stop                                    the worker stops
//	state                                   what every project has, and what keeps it from calling; of a
//	                                        worker that stops, whether it is over and what it did not record
func TestStories(t *testing.T) {
	ran := 0
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		ran++
		s := &story{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.do(t, d) })
	})
	if ran < 15 {
		t.Errorf("only %d stories", ran)
	}
}

// story is a core with all that surrounds it.
type story struct {
	*core
	begun, now  time.Time
	n           int // jobs so far
	leases      []*queue.Lease
	calls       map[int]*storyCall
	numbers     int // calls so far
	handlers    [endings]string
	hanging     []*work
	out         []string
	credentials map[string]any // by project
}

type storyCall struct {
	batch *batch
	began time.Time
}

var endingNames = map[string]ending{"ack": ack, "bury": bury, "defer": comeBack}

func (s *story) do(t *testing.T, d *datadriven.TestData) string {
	s.out = nil
	switch d.Cmd {
	case "new":
		s.create(t, d)
	case "jobs":
		s.jobs(t, d)
	case "answer":
		s.answer(t, d)
	case "pass":
		s.pass(duration(t, d.CmdArgs[0].Key))
	case "lapse":
		n, err := strconv.Atoi(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		s.leases[n-1].LapseAt(s.now)
	case "work":
		for _, arg := range d.CmdArgs {
			s.handlers[endingNames[arg.Key]] = arg.Vals[0]
			if arg.Vals[0] == "do" {
				hanging := s.hanging
				s.hanging = nil
				for _, w := range hanging {
					s.handle(w)
				}
			}
		}
	case "close-gate":
		c := Closure{ProjectID: text1(d, "project", "p"), Kind: chatapi.Limited, Status: 429, Wait: duration(t, text1(d, "for", "")), From: "other"}
		if d.HasArg("forbidden") {
			c.Kind, c.Status = chatapi.Credential, 403
		}
		for _, e := range s.closeGate(s.now, c) {
			s.say("gate of %s closes for %v by word of %s: %s %d", e.ProjectID, e.Wait, e.From, c.Kind, e.Status)
		}
	case "credentials":
		for _, arg := range d.CmdArgs {
			s.credentials[arg.Key] = arg.Vals[0]
		}
		s.schedule.credentialsChanged(s.now)
	case "stop":
		s.stop(s.now)
		s.release(s.unstarted(s.now))
	case "state":
		return s.state()
	default:
		t.Fatalf("%s: there is no command %q", d.Pos, d.Cmd)
	}
	s.run()
	if len(s.out) == 0 {
		return "nothing\n"
	}
	return strings.Join(s.out, "\n") + "\n"
}

func (s *story) say(format string, args ...any) {
	s.out = append(s.out, fmt.Sprintf("%8v  ", s.now.Sub(s.begun).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

func (s *story) create(t *testing.T, d *datadriven.TestData) {
	var cfg Config
	for _, arg := range d.CmdArgs {
		value := arg.Vals[0]
		switch arg.Key {
		case "linger":
			if cfg.Linger = duration(t, value); cfg.Linger == 0 {
				cfg.Linger = -1
			}
		case "retry-for":
			cfg.RetryFor = duration(t, value)
		case "concurrency":
			d.ScanArgs(t, arg.Key, &cfg.Concurrency)
		case "max-recipients":
			d.ScanArgs(t, arg.Key, &cfg.MaxRecipients)
		case "window":
			d.ScanArgs(t, arg.Key, &cfg.Window)
		case "max-ambiguous":
			d.ScanArgs(t, arg.Key, &cfg.MaxAmbiguous)
		case "project-calls-per-second":
			var n int
			d.ScanArgs(t, arg.Key, &n)
			cfg.ProjectCallsPerSecond = float64(n)
		default:
			t.Fatalf("%s: no setting %s", d.Pos, arg.Key)
		}
	}
	credentials := map[string]any{}
	cfg.Credential = func(project string) any { return credentials[project] }
	begun := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	*s = story{core: newCore(cfg.withDefaults()), begun: begun, now: begun, calls: map[int]*storyCall{}, credentials: credentials}
	s.schedule.permits.jitter = 0
}

func (s *story) jobs(t *testing.T, d *datadriven.TestData) {
	n, behind, deferrals, size, attempts, suspected := 1, 0, 0, 0, 0, 0
	d.MaybeScanArgs(t, "attempts", &attempts)
	d.MaybeScanArgs(t, "suspected", &suspected)
	d.MaybeScanArgs(t, "call-size", &size)
	var tried []queue.Tried
	if arg, ok := d.Arg("tried"); ok {
		for _, one := range arg.Vals {
			var r queue.Tried
			if _, err := fmt.Sscanf(one, "%d*%d", &r.Calls, &r.Recipients); err != nil {
				t.Fatal(err)
			}
			tried = append(tried, r)
		}
	}
	d.MaybeScanArgs(t, "n", &n)
	d.MaybeScanArgs(t, "behind", &behind)
	d.MaybeScanArgs(t, "deferrals", &deferrals)
	var to []string
	if arg, ok := d.Arg("to"); ok {
		to = arg.Vals
	}
	var leases []*queue.Lease
	for range n {
		s.n++
		job := queue.Job{ID: fmt.Sprint("job-", s.n), ProjectID: text1(d, "project", "p"), Message: text1(d, "message", "hello"), WovenIDs: slices.Clone(to)}
		if to == nil {
			job.WovenIDs = []string{fmt.Sprint("w", s.n)}
		}
		if d.HasArg("distinct") {
			job.Message += fmt.Sprint(" ", s.n)
		}
		if d.HasArg("expires") {
			job.ExpiresAt = s.now.Add(duration(t, text1(d, "expires", "")))
		}
		if d.HasArg("deliver") {
			job.DeliverAt = s.now.Add(duration(t, text1(d, "deliver", "")))
		}
		l := queue.Lease{
			Job: job, Priority: queue.Priority(text1(d, "priority", "normal")), Stream: "NOTIFY_NORMAL", Seq: uint64(s.n), Behind: uint64(behind),
			Redelivered: d.HasArg("redelivered"), History: queue.History{
				PublishedAt: s.now.Add(-duration(t, text1(d, "age", "0s"))), LastError: text1(d, "last-error", ""), Deferrals: deferrals,
				Attempts: attempts, Ambiguous: tried, CallSize: size, Suspected: suspected,
			},
		}
		if d.HasArg("later") {
			l.Stream = queue.LaterStream
		}
		leases = append(leases, queue.NewLease(&l, silent{}))
	}
	s.leases = append(s.leases, leases...)
	s.release(s.add(s.now, leases))
}

func (s *story) answer(t *testing.T, d *datadriven.TestData) {
	status := 200
	d.MaybeScanArgs(t, "status", &status)
	report, err := chatapi.Report{Status: status}, error(nil)
	if arg, ok := d.Arg("reject"); ok {
		report.Failures = []chatapi.Failure{{WovenIDs: arg.Vals, Reason: "unknown"}}
	}
	if status != 200 {
		kinds := map[int]chatapi.Kind{400: chatapi.Refused, 413: chatapi.Refused, 401: chatapi.Credential, 403: chatapi.Credential, 404: chatapi.Misconfigured, 429: chatapi.Limited}
		err = &chatapi.Error{
			Kind: cmp.Or(kinds[status], chatapi.Temporary), Status: status, MayBeDelivered: d.HasArg("ambiguous"), Unsent: d.HasArg("unsent"),
			RetryAfter: duration(t, text1(d, "retry-after", "0s")),
		}
	}
	if d.HasArg("unreadable") {
		err = &chatapi.Error{Kind: chatapi.Unreadable, Status: 200, MayBeDelivered: true}
	}
	for _, arg := range d.CmdArgs {
		var from, to int
		switch n, _ := fmt.Sscanf(arg.Key, "%d-%d", &from, &to); {
		case arg.Key == "all":
			for ; s.calls[s.numbers] != nil; s.run() {
				s.comeBack(s.numbers, report, err)
			}
			continue
		case n == 0:
			continue
		case n == 1:
			to = from
		}
		for number := from; number <= to; number++ {
			if s.calls[number] == nil {
				t.Fatalf("%s: call %d is not in flight", d.Pos, number)
			}
			s.comeBack(number, report, err)
		}
	}
}

// comeBack ends a call.
func (s *story) comeBack(number int, report chatapi.Report, err error) {
	c := s.calls[number]
	delete(s.calls, number)
	res := c.batch.record(s.now, s.cfg, report, err)
	for _, e := range s.callEnded(s.now, c.began, c.batch, res) {
		switch {
		case e.Kind == EventCallSize:
			s.say("%s: the API takes %d recipients in a call", e.ProjectID, e.Recipients)
		case e.Wait > 0 && e.Narrow:
			s.say("gate of %s suspicious, %q waits for %v: %s %d", e.ProjectID, c.batch.key.message, e.Wait.Round(time.Millisecond), res.err.Kind, e.Status)
		case e.Shared:
			s.say("gate of %s and of its credential closes for %v: %s %d", e.ProjectID, e.Wait.Round(time.Millisecond), res.err.Kind, e.Status)
		case e.Wait > 0:
			s.say("gate of %s closes for %v: %s %d", e.ProjectID, e.Wait.Round(time.Millisecond), res.err.Kind, e.Status)
		default:
			s.say("gate of %s opens", e.ProjectID)
		}
	}
	if s.stopping {
		s.release(s.unstarted(s.now))
	}
}

func (s *story) pass(d time.Duration) {
	end := s.now.Add(d)
	for at := s.wakeAt(s.now); !at.IsZero() && !at.After(end); at = s.wakeAt(s.now) {
		s.now = later(at, s.now.Add(time.Microsecond)) // nothing that is due may stay undone for ever
		s.run()
	}
	s.now = end
}

// run lets go whatever may go now.
func (s *story) run() {
	if s.core == nil {
		return
	}
	granted := map[string][]string{}
	var order []string
	first := s.numbers + 1
	var single []string
	for b := s.nextCall(s.now); b != nil; b = s.nextCall(s.now) {
		s.numbers++
		s.calls[s.numbers] = &storyCall{b, s.now}
		err := b.splitOff(context.Background(), s.cfg.MaxRecipients, func(e Event) { single = append(single, fmt.Sprintf("split off %d", e.Recipients)) })
		if err != nil {
			s.say("%v", err)
		}
		n := b.notification()
		line := fmt.Sprintf("call %d: %s %s %q to %s", s.numbers, n.ProjectID, b.key.priority, n.Message, some(n.WovenIDs))
		if b.permit.probe {
			line += ", a probe"
		}
		single = append(single, line)
		if granted[n.ProjectID] == nil {
			order = append(order, n.ProjectID)
		}
		granted[n.ProjectID] = append(granted[n.ProjectID], line)
	}
	if len(single) <= 6 {
		for _, line := range single {
			s.say("%s", line)
		}
	} else {
		for i, p := range order {
			order[i] = fmt.Sprintf("%d of %s", len(granted[p]), p)
		}
		s.say("calls %d-%d: %s", first, s.numbers, strings.Join(order, ", "))
	}
	for w := s.nextWork(s.now); w != nil; w = s.nextWork(s.now) {
		s.handle(w)
	}
}

// handle is a handler. What it defers is gone for this story.
func (s *story) handle(w *work) {
	name := []string{"ack", "bury", "defer"}[w.ending]
	switch s.handlers[w.ending] {
	case "hang":
		s.say("%s %s, which hangs", name, s.names(w))
		s.hanging = append(s.hanging, w)
	case "fail":
		s.say("%s %s, which fails", name, s.names(w))
		s.workEnded(s.now, w, w.tasks)
	default:
		s.say("%s %s", name, s.names(w))
		s.workEnded(s.now, w, nil)
	}
}

func (s *story) names(w *work) string {
	var all []string
	for _, t := range w.tasks {
		text := t.lease.Job.ID
		if t.state == lost {
			text += " (lost)"
		}
		if w.ending == comeBack {
			text += fmt.Sprintf(" for %v", t.back.Sub(s.now).Round(time.Millisecond))
			if t.rest != nil && len(t.rest) < len(t.lease.Job.WovenIDs) {
				text += fmt.Sprintf(" (%s)", strings.Join(t.rest, " "))
			}
			if h := t.lease.History; len(h.Ambiguous) > 0 || h.Suspected > 0 || h.CallSize > 0 {
				text += fmt.Sprintf(" (tried %v, suspected %d, call size %d)", h.Ambiguous, h.Suspected, h.CallSize)
			}
		}
		for _, f := range t.failed {
			text += fmt.Sprintf(" (%s: %s)", f.reason, some(f.ids))
			if f.reason == queue.Exhausted || strings.Contains(f.detail, "times") {
				text += fmt.Sprintf(" (%s)", f.detail)
			}
		}
		all = append(all, text)
	}
	return some(all)
}

func (s *story) release(leases []*queue.Lease) {
	var all []string
	for _, l := range leases {
		all = append(all, l.Job.ID)
	}
	if all != nil {
		slices.Sort(all)
		s.say("release %s", some(all))
	}
}

func (s *story) state() string {
	var b strings.Builder
	p := &s.schedule.permits
	fmt.Fprintf(&b, "%d in flight, %d of them probes; the limiter allows %d; any project: %s\n", p.inFlight, p.probes, p.limiter.calls(), p.any(s.now).since(s.now))
	var ids []string
	for id := range s.schedule.projects {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		pr := s.schedule.projects[id]
		fmt.Fprintf(&b, "%s: %d in flight, %d jobs wait: %s\n", id, pr.inFlight, pr.waiting.jobs, p.of(s.now, pr).since(s.now))
	}
	for k, x := range s.completer.all {
		if len(x.waiting)+x.handled > 0 {
			fmt.Fprintf(&b, "to %s: %d, and %d in the hands of %d handlers\n", []string{"ack", "bury", "defer"}[k.ending], len(x.waiting), x.handled, x.handlers)
		}
		if why := p.acks(s.now, k.stream); k.ending == ack && !why.granted() {
			fmt.Fprintf(&b, "jobs of stream %d: %s\n", k.stream, why)
		}
	}
	if s.stopping {
		fmt.Fprintf(&b, "stopping; over: %v; %d jobs not recorded\n", s.over(s.now), s.unrecorded())
	}
	return b.String()
}

// some names a few of many.
func some(all []string) string {
	const most = 4
	if len(all) <= most+1 {
		return strings.Join(all, " ")
	}
	return fmt.Sprintf("%s … (%d in all)", strings.Join(all[:most], " "), len(all))
}

func text1(d *datadriven.TestData, name, otherwise string) string {
	if arg, ok := d.Arg(name); ok && len(arg.Vals) > 0 {
		return arg.Vals[0]
	}
	return otherwise
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
