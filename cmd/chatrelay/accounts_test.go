package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

// The project of the example producer in deploy/nats, and somebody else's.
const (
	coffee  = "0f8fad5b-d9cb-469f-a165-70867728950e"
	victims = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
)

// guarded is an installation whose nats-server has a configuration of deploy/nats.
type guarded struct {
	*system
	nats *server.Server
}

func startGuarded(t *testing.T, path string) *guarded {
	t.Helper()
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.StoreDir, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, t.TempDir(), true, true
	opts.SyncInterval = time.Hour // a sync while a stream is being created is a data race in nats-server 2.15.2
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server is not ready")
	}
	g := &guarded{nats: s}
	g.system = connectSystem(t, chatapitest.Config{}, g.as("operator"), t.TempDir())
	return g
}

// as is the address for one of the users.
func (g *guarded) as(user string) string {
	return fmt.Sprintf("nats://%s:%s-password@127.0.0.1:%d", user, user, g.nats.Addr().(*net.TCPAddr).Port)
}

// run runs the program as one of the users and returns its exit code.
func (g *guarded) run(user string, args ...string) (int, *process) {
	g.t.Helper()
	g.url = g.as(user)
	p := g.start(args...)
	return g.ended(p), p
}

func (g *guarded) must(user string, args ...string) {
	g.t.Helper()
	if code, p := g.run(user, args...); code != 0 {
		g.t.Fatalf("%s: %v: exit code %d\n%s", user, args, code, p.stderr)
	}
}

// hostile is a client of NATS with a producer's permissions, which does what our program would not.
func (g *guarded) hostile() *nats.Conn {
	g.t.Helper()
	nc, err := nats.Connect(g.as("coffee"), nats.CustomInboxPrefix("coffee.inbox"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(nc.Close)
	return nc
}

// everything works with the permissions of the worker and of the operator, for jobs by this producer.
func (g *guarded) everything() {
	t := g.t
	t.Helper()
	g.must("operator", "init")
	g.url = g.as("worker")
	w := g.worker()
	inbox := []string{"--nats-inbox-prefix", "coffee.inbox"}
	send := func(id string, more ...string) {
		g.must("coffee", append(append([]string{"publish", "--project", coffee, "--message", "m", "--id", id}, inbox...), more...)...)
	}
	send("good", "--to", "w-1")
	send("bad", "--to", "unknown-1", "--priority", "urgent")
	send("later", "--to", "w-2", "--deliver-at", "2s", "--priority", "bulk")
	g.eventually(patience, "the letter", func() bool { return len(g.letters()) == 1 })
	g.drained(patience)
	for _, args := range [][]string{{"status"}, {"dead", "list"}, {"dead", "replay", "--all-projects", "--yes"}} {
		g.must("operator", args...)
	}
	g.eventually(patience, "the replayed letter", func() bool { l := g.letters(); return len(l) == 1 && l[0].Replays == 1 })
	g.drained(patience)
	g.must("operator", "dead", "drop", "--all-projects", "--yes")
	if code, p := g.run("coffee", append([]string{"publish", "--project", victims, "--message", "m", "--to", "w", "--publish-retry-for", "1s"}, inbox...)...); code == 0 {
		t.Errorf("a job of another project was published: %s", p.stdout)
	}
	if got := g.api.Counts(); got.Delivered != 2 || got.Rejected != 2 {
		t.Errorf("delivered %d, rejected %d", got.Delivered, got.Rejected)
	}
	if st, err := g.q.Status(t.Context(), time.Second); err != nil || len(st.Workers) != 1 || st.Dead != 0 {
		t.Errorf("status: %+v, %v", st, err)
	}
	if code := g.stop(w, sigterm); code != 0 {
		t.Errorf("the worker ended with %d", code)
	}
	if said := w.stderr.String(); strings.Contains(said, "ermissions") {
		t.Errorf("the worker lacks permissions:\n%s", said)
	}
}

// victim is somebody else's letter, whose place a hostile producer knows.
func (g *guarded) victim() queue.DeadLetter {
	g.t.Helper()
	l := queue.DeadLetter{
		JobID: "theirs", ProjectID: victims, Priority: queue.Normal, Message: "m", WovenIDs: []string{"w"}, Reason: queue.Rejected,
		Failures: []queue.Failure{{WovenIDs: []string{"w"}, Status: 200}}, FailedAt: time.Now(), Origin: "normal-1-1",
	}
	if _, err := g.q.Bury(g.t.Context(), []queue.DeadLetter{l}); err != nil {
		g.t.Fatal(err)
	}
	return g.letters()[0]
}

// attacked publishes a job whose acknowledgement is to go where the producer may not publish.
func (g *guarded) attacked(nc *nats.Conn, reply string) {
	g.t.Helper()
	job := []byte(`{"id":"attack","project_id":"` + coffee + `","message":"m","woven_ids":["w"]}`)
	if err := nc.PublishRequest("notify.jobs.normal."+coffee, reply, job); err != nil {
		g.t.Fatal(err)
	}
	// A job with an answer comes after it.
	answer, err := nc.Request("notify.jobs.normal."+coffee, job, patience)
	if err != nil || !strings.Contains(string(answer.Data), `"seq"`) {
		g.t.Fatalf("an honest job: %v", err)
	}
	_ = nc.Flush()
}

// queued is how many jobs wait.
func (g *guarded) queued() int {
	g.t.Helper()
	st, err := g.q.Status(g.t.Context(), time.Millisecond)
	if err != nil || st.Due != 0 || st.Scheduled != 0 {
		g.t.Fatalf("status: %+v, %v", st, err)
	}
	return int(st.Queued)
}

// outOfReach checks that a producer gets no answer from, and can store nothing at, any other subject.
func (g *guarded) outOfReach(nc *nats.Conn, place string) {
	g.t.Helper()
	before := g.queued()
	for _, subject := range []string{
		"$JS.API.INFO", "$JS.API.STREAM.INFO.NOTIFY_DEAD", "$JS.API.STREAM.PURGE.NOTIFY_NORMAL", "$JS.API.STREAM.MSG.GET.NOTIFY_NORMAL",
		"$JS.API.CONSUMER.MSG.NEXT.NOTIFY_NORMAL.worker", "notify.due.normal." + coffee, "notify.later.normal." + coffee + ".x", "notify.gates", place, "notify.workers", "notify.jobs.normal." + victims,
	} {
		if answer, err := nc.Request(subject, []byte(`{}`), 100*time.Millisecond); err == nil {
			g.t.Errorf("%s answers %s", subject, answer.Data)
		}
	}
	if after := g.queued(); after != before {
		g.t.Errorf("%d jobs wait, before %d", after, before)
	}
}

// A producer with an account of its own can publish jobs of its project, and nothing else.
func TestAccounts(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, "../../deploy/nats/accounts.conf")
	g.everything()
	victim := g.victim()
	place := "notify.dead." + victims + ".rejected." + victim.Origin
	nc := g.hostile()
	for _, reply := range []string{place, "$JS.API.STREAM.PURGE.NOTIFY_NORMAL", "notify.due.normal." + coffee, "notify.jobs.normal." + victims} {
		before := g.queued()
		g.attacked(nc, reply)
		g.eventually(patience, "both jobs to be counted, and nothing else, after "+reply, func() bool { return g.queued() == before+2 })
	}
	g.outOfReach(nc, place)
	if all := g.letters(); len(all) != 1 || all[0].Seq != victim.Seq {
		t.Errorf("somebody else's letter was replaced: %+v", all)
	}
}

// Permissions within one account keep a producer from everything else, but not from what an acknowledgement
// does where its reply subject points to.
func TestPermissions(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, "../../deploy/nats/permissions.conf")
	g.everything()
	victim := g.victim()
	place := "notify.dead." + victims + ".rejected." + victim.Origin
	nc := g.hostile()
	g.outOfReach(nc, place)
	g.attacked(nc, place)
	if all := g.letters(); len(all) == 1 && all[0].Seq == victim.Seq {
		t.Error("the letter was not replaced: deploy/nats/permissions.conf is stronger than it says")
	}
}

// The server of docker-compose.yml takes its password from a variable, also one of digits.
func TestComposedServerDemandsPassword(t *testing.T) {
	const password = "0123456789"
	t.Setenv("NATS_PASSWORD", `"`+password+`"`)
	opts, err := server.ProcessConfigFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if opts.Username != "chatrelay" || opts.Password != password {
		t.Errorf("user %q with password %q", opts.Username, opts.Password)
	}
}
