package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Observed: with a context that had been cancelled 20 of 20 jobs were stored.
func TestACancelledContextPublishesNothing(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pub := q.Publisher(PublisherConfig{})
	for i := range 20 {
		if _, err := pub.Publish(ctx, Normal, job(fmt.Sprint("j", i), "m", "w")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUncertain) {
			t.Errorf("publish: %v", err)
		}
	}
	if err := pub.PublishAll(ctx, manyJobs(20, nil), func(Receipt, error) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("publish all: %v", err)
	}
	publish(t, q, Normal, job("last", "m", "w")) // behind whatever was sent
	if n := stored(t, q, "NOTIFY_NORMAL"); n != 1 {
		t.Errorf("%d jobs stored, want 1", n)
	}
}

// Observed: three publications that had failed while NATS was away were delivered when it was back.
func TestWhatFailedWhileNATSWasAwayIsNotStoredLater(t *testing.T) {
	t.Parallel()
	q, stop, start := restartable(t)
	stop()
	eventually(t, "the connection is lost", func() bool { return !q.Connected() })
	pub := q.Publisher(PublisherConfig{RetryFor: 200 * time.Millisecond})
	for i := range 3 {
		if _, err := pub.Publish(deadline(t), Normal, job(fmt.Sprint("j", i), "m", "w")); err == nil || errors.Is(err, ErrUncertain) {
			t.Errorf("publish: %v", err)
		}
	}
	start()
	eventually(t, "the connection is restored", q.Connected)
	publish(t, q, Normal, job("last", "m", "w"))
	if n := stored(t, q, "NOTIFY_NORMAL"); n != 1 {
		t.Errorf("%d jobs stored, want 1", n)
	}
}

// mute subscribes to a subject instead of a stream, so that publications are taken and never answered.
func mute(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.js.DeleteStream(t.Context(), "NOTIFY_NORMAL"); err != nil {
		t.Fatal(err)
	}
	if _, err := q.nc.Subscribe(jobsPrefix+"normal.*", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
}

// Observed: RetryFor of 3 s took 10 s. What is not answered is uncertain.
func TestRetryForEndsInTime(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	mute(t, q)
	pub := q.Publisher(PublisherConfig{RetryFor: 700 * time.Millisecond})
	begun := time.Now()
	receipt, err := pub.Publish(deadline(t), Normal, job("one", "m", "w"))
	if !errors.Is(err, ErrUncertain) || receipt.JobID != "one" {
		t.Errorf("publish: %+v, %v", receipt, err)
	}
	dones := 0
	err = pub.PublishAll(deadline(t), manyJobs(3000, nil), func(r Receipt, err error) {
		if dones++; !errors.Is(err, ErrUncertain) {
			t.Errorf("publish all: %v", err)
		}
	})
	if took := time.Since(begun); err != nil || dones != 3000 || took < 1400*time.Millisecond || took >= 2*ackTimeout { // as long as two answers would be awaited without the bound
		t.Errorf("%d done within %v, %v", dones, took, err)
	}
}

// The server does not recognize what it stored before its duplicate window: it is not sent again then, however long
// RetryFor is.
func TestWhatMayBeStoredIsNotSentAfterTheWindow(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, "NOTIFY_NORMAL", func(c *jetstream.StreamConfig) { c.NoAck, c.Duplicates = true, time.Second })
	pub := q.Publisher(PublisherConfig{RetryFor: 20 * time.Second})
	pub.window = time.Second // the first answer is awaited for longer
	if _, err := pub.Publish(deadline(t), Normal, Job{ProjectID: projectA, Message: "m", WovenIDs: []string{"w"}}); !errors.Is(err, ErrUncertain) {
		t.Errorf("publish: %v", err)
	}
	if n := stored(t, q, "NOTIFY_NORMAL"); n != 1 {
		t.Errorf("%d jobs stored, want 1", n)
	}
}

// A refusal that follows upon an attempt without an answer does not make it certain.
func TestUncertainStaysUncertain(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	if err := q.js.DeleteStream(t.Context(), "NOTIFY_NORMAL"); err != nil {
		t.Fatal(err)
	}
	const (
		garbled = "no answer of JetStream"
		full    = `{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}`
		large   = `{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}`
	)
	answers := make(chan string, 10)
	if _, err := q.nc.Subscribe(jobsPrefix+"normal.*", func(m *nats.Msg) {
		_ = m.Respond([]byte(<-answers))
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		answers   []string
		uncertain bool
	}{
		{[]string{large}, false}, {[]string{full, large}, false},
		{[]string{garbled, large}, true}, {[]string{full, garbled, large}, true}, {[]string{garbled, full, full, large}, true},
	} {
		for _, answer := range c.answers {
			answers <- answer
		}
		_, err := q.Publisher(PublisherConfig{}).Publish(deadline(t), Normal, job("", "m", "w"))
		if errors.Is(err, ErrUncertain) != c.uncertain || len(answers) > 0 || !errors.Is(err, ErrTooLarge) {
			t.Errorf("after %q: %v", c.answers, err)
		}
	}
}

// A job of which the server took some parts only is uncertain, whatever kept it from the others.
func TestAPartOfAJobIsUncertain(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, "NOTIFY_NORMAL", func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	big := job("big", "m", manyRecipients(4000)...)
	if _, err := q.Publisher(PublisherConfig{RetryFor: -1}).Publish(deadline(t), Normal, big); !errors.Is(err, ErrFull) || !errors.Is(err, ErrUncertain) {
		t.Errorf("publish: %v", err)
	}
	limit(t, q, "NOTIFY_NORMAL", func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 })
	publish(t, q, Normal, big)
	if n := stored(t, q, "NOTIFY_NORMAL"); n != 4 {
		t.Errorf("%d parts stored, want 4", n)
	}
}

// withUsers runs a server whose user admin may do everything and whose user producer has the permissions.
func withUsers(t *testing.T, permissions string) (admin, producer *Queue) {
	t.Helper()
	conf, err := server.ProcessConfigFile(writeFile(t, fmt.Sprintf(`
		listen: "127.0.0.1:-1", jetstream: {store_dir: %q}
		authorization { users: [ {user: admin, password: pw}, {user: producer, password: pw, permissions: {%s}} ] }`, t.TempDir(), permissions)))
	if err != nil {
		t.Fatal(err)
	}
	conf.NoSigs = true
	s := runServers(t, conf)[0]
	user := func(name, inbox string) *Queue {
		q, err := Connect(t.Context(), Config{URL: strings.Replace(s.ClientURL(), "nats://", "nats://"+name+":pw@", 1), InboxPrefix: inbox})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(q.Close)
		return q
	}
	admin = user("admin", "")
	if _, err := admin.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	return admin, user("producer", "_INBOX_producer")
}

// runServers runs servers that are ready, together if they are a cluster.
func runServers(t *testing.T, options ...*server.Options) (all []*server.Server) {
	t.Helper()
	for _, o := range options {
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		all = append(all, s)
	}
	for _, s := range all {
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("a server is not ready")
		}
	}
	return all
}

// Publishing needs permission for the subject and an inbox, and no API of JetStream.
func TestPublishWithFewPermissions(t *testing.T) {
	t.Parallel()
	for subjects, priorities := range map[string]int{"notify.jobs.*." + projectA: 3, "notify.jobs.normal." + projectA: 1} {
		admin, q := withUsers(t, `publish: "`+subjects+`", subscribe: "_INBOX_producer.>"`)
		pub := q.Publisher(PublisherConfig{})
		for i := range 3 {
			if receipt, err := pub.Publish(deadline(t), Normal, job("one", "m", "w")); err != nil || receipt.Duplicate != (i > 0) {
				t.Errorf("%s: %+v, %v", subjects, receipt, err)
			}
		}
		if _, err := pub.Publish(deadline(t), Bulk, job("one", "m", "w")); !errors.Is(err, ErrOtherPriority) {
			t.Errorf("%s, with another priority: %v", subjects, err)
		}
		if _, err := pub.Publish(deadline(t), Bulk, job("two", "m", "w")); errors.Is(err, ErrDenied) != (priorities == 1) || errors.Is(err, ErrUncertain) {
			t.Errorf("%s, only with another priority: %v", subjects, err)
		}
		theirs := job("one", "m", "w")
		theirs.ProjectID = projectB
		if _, err := pub.Publish(deadline(t), Normal, theirs); !errors.Is(err, ErrDenied) || errors.Is(err, ErrUncertain) {
			t.Errorf("%s, for another project: %v", subjects, err)
		}
		if n := stored(t, admin, "NOTIFY_NORMAL"); n != 1 {
			t.Errorf("%s: %d stored", subjects, n)
		}
	}
}

// A cluster looks for duplicates elsewhere in its code than a single server; neither stores a probe.
func TestOtherPriorityInACluster(t *testing.T) {
	t.Parallel()
	var options []*server.Options
	ports := make([]int, 3)
	var routes []string
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	for i, port := range ports {
		o, err := server.ProcessConfigFile(writeFile(t, fmt.Sprintf(`
			listen: "127.0.0.1:-1", server_name: n%d, jetstream: {store_dir: %q}
			cluster { name: c, listen: "127.0.0.1:%d", routes: [%s] }`, i, t.TempDir(), port, strings.Join(routes, ","))))
		if err != nil {
			t.Fatal(err)
		}
		o.NoSigs = true
		options = append(options, o)
	}
	all := runServers(t, options...)
	q, err := Connect(t.Context(), Config{URL: all[0].ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	eventually(t, "the streams are made", func() bool {
		_, err := q.Init(t.Context(), InitConfig{Replicas: 3})
		return err == nil
	})
	pub := q.Publisher(PublisherConfig{})
	for _, j := range []Job{job("one", "m", "w"), job("two", "m", "w")} {
		if _, err := pub.Publish(deadline(t), Urgent, j); err != nil {
			t.Fatal(err)
		}
		for _, p := range []Priority{Normal, Bulk} {
			if _, err := pub.Publish(deadline(t), p, j); !errors.Is(err, ErrOtherPriority) {
				t.Errorf("%s: %v", p, err)
			}
		}
	}
	other := job("three", "m", "w") // asked for in Urgent and Normal without effect on a later publication there
	if _, err := pub.Publish(deadline(t), Bulk, other); err != nil {
		t.Fatal(err)
	}
	if n := [3]int{stored(t, q, "NOTIFY_URGENT"), stored(t, q, "NOTIFY_NORMAL"), stored(t, q, "NOTIFY_BULK")}; n != [3]int{2, 0, 1} {
		t.Errorf("stored %v", n)
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
