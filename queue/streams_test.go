package queue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/queue/broker"
)

func initDid(t *testing.T, q *Queue, cfg InitConfig) map[string]string {
	t.Helper()
	changes, err := q.Init(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	did := map[string]string{}
	for _, c := range changes {
		did[c.Stream] = c.Did
	}
	return did
}

func TestInitCreatesRaisesAndNeverLowers(t *testing.T) {
	q, _ := newQueueAt(t)
	all := []string{"NOTIFY_URGENT", "NOTIFY_NORMAL", "NOTIFY_BULK", LaterStream, DeadStream}
	expect := func(cfg InitConfig, want map[string]string) {
		t.Helper()
		did := initDid(t, q, cfg)
		for _, name := range all {
			if w := want[name]; did[name] != w && (w != "" || did[name] != "unchanged") {
				t.Errorf("%+v: %s was %s, want %q", cfg, name, did[name], w)
			}
		}
	}
	expect(InitConfig{MaxQueued: 5, MaxBytes: 1 << 20}, map[string]string{
		all[0]: "created", all[1]: "created", all[2]: "created", all[3]: "created", all[4]: "created"})
	expect(InitConfig{MaxQueued: 5, MaxBytes: 1 << 20}, nil)
	expect(InitConfig{}, nil) // what was not asked for stays
	expect(InitConfig{MaxBytes: 2 << 20}, map[string]string{all[0]: "updated", all[1]: "updated", all[2]: "updated", all[4]: "updated"})
	expect(InitConfig{MaxQueued: 6}, map[string]string{all[0]: "updated", all[1]: "updated", all[2]: "updated"})
	for _, lower := range []InitConfig{{MaxBytes: 1 << 20}, {MaxQueued: 4}} {
		if _, err := q.Init(t.Context(), lower); err == nil || !strings.Contains(err.Error(), "lower") {
			t.Errorf("init with %+v: %v", lower, err)
		}
	}
	s, err := q.js.Stream(t.Context(), "NOTIFY_BULK")
	if err != nil {
		t.Fatal(err)
	}
	if cfg := s.CachedInfo().Config; cfg.MaxBytes != 2<<20 || cfg.MaxMsgsPerSubject != 6 || !cfg.DiscardNewPerSubject {
		t.Errorf("limits %+v", cfg)
	}
	expect(InitConfig{MaxQueued: -1, MaxBytes: -1}, map[string]string{all[0]: "updated", all[1]: "updated", all[2]: "updated", all[4]: "updated"})
}

// Rule 4: the dead-letter stream is the only exit.
func TestEveryConsumerDeliversWithoutLimit(t *testing.T) {
	q := newQueue(t)
	for _, stream := range []string{"NOTIFY_URGENT", "NOTIFY_NORMAL", "NOTIFY_BULK", LaterStream} {
		c, err := q.js.Consumer(t.Context(), stream, ConsumerName)
		if err != nil {
			t.Fatal(err)
		}
		if cfg := c.CachedInfo().Config; cfg.MaxDeliver != -1 || len(cfg.BackOff) != 0 || cfg.AckPolicy != jetstream.AckExplicitPolicy {
			t.Errorf("consumer of %s: %+v", stream, cfg)
		}
		if cfg := c.CachedInfo().Config; stream != LaterStream && cfg.FilterSubject != "" {
			t.Errorf("consumer of %s has the filter %q", stream, cfg.FilterSubject)
		}
	}
}

func TestFullJobStreamDropsNothing(t *testing.T) {
	q := newQueue(t)
	for _, p := range Priorities() {
		limit(t, q, JobStream(p), func(c *jetstream.StreamConfig) { c.MaxMsgs = 3 })
		publish(t, q, p, job("a", string(p), "w"), job("b", string(p), "w"), job("c", string(p), "w"))
		if _, err := q.js.Publish(t.Context(), JobSubject(p, projectA), []byte("x")); !errors.Is(publishError(err), ErrFull) {
			t.Errorf("%s takes a fourth: %v", p, err)
		}
	}
	for _, l := range take(t, openJobs(t, q, JobsConfig{}), 9) {
		if !strings.Contains("abc", l.Job.ID) || l.Job.ID == "" {
			t.Errorf("%s holds %+v", l.Origin(), l)
		}
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	q, _ := newQueueAt(t)
	err := q.Check(t.Context())
	for _, want := range []string{"NOTIFY_URGENT", "NOTIFY_NORMAL", "NOTIFY_BULK", LaterStream, DeadStream} {
		if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	initDid(t, q, InitConfig{})
	if err := q.js.DeleteConsumer(t.Context(), "NOTIFY_BULK", ConsumerName); err != nil {
		t.Fatal(err)
	}
	if err := q.js.DeleteStream(t.Context(), DeadStream); err != nil {
		t.Fatal(err)
	}
	err = q.Check(t.Context())
	if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "consumer worker of NOTIFY_BULK, NOTIFY_DEAD") || strings.Contains(err.Error(), "URGENT") {
		t.Errorf("with two things missing: %v", err)
	}
	initDid(t, q, InitConfig{})
	if err := q.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCheckNamesWhatIsUnsuitable(t *testing.T) {
	t.Parallel()
	q, _ := newQueueAt(t)
	initDid(t, q, InitConfig{})
	configs := map[string]jetstream.StreamConfig{}
	for _, cfg := range q.streamConfigs(InitConfig{}) {
		configs[cfg.Name] = cfg
	}
	for _, c := range []struct {
		stream string
		change func(*jetstream.StreamConfig)
		want   string
	}{
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.Retention = jetstream.LimitsPolicy }, "retention"},
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.Discard = jetstream.DiscardOld }, "discard"},
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour }, "max_age"},
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage }, "memory"},
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.Subjects = []string{"notify.jobs.normal.>"} }, "subjects"},
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 5 }, "discard_new_per_subject"},
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.MaxMsgSize = -1 }, "max_msg_size"},
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.MaxMsgSize = 3 << 20 }, "max_msg_size"},
		{"NOTIFY_NORMAL", func(s *jetstream.StreamConfig) { s.NoAck = true }, "no_ack"},
		{LaterStream, func(s *jetstream.StreamConfig) { s.AllowMsgSchedules = false }, "schedules"},
		{LaterStream, func(s *jetstream.StreamConfig) { s.MaxMsgs = 10 }, "limits"},
		{LaterStream, func(s *jetstream.StreamConfig) { s.MaxMsgSize = 1000 }, "max_msg_size"},
		{DeadStream, func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 2 }, "max_msgs_per_subject"},
		{DeadStream, func(s *jetstream.StreamConfig) { s.DiscardNewPerSubject = true }, "discard_new_per_subject"},
		{DeadStream, func(s *jetstream.StreamConfig) { s.DenyDelete = true }, "deny_delete"},
		{DeadStream, func(s *jetstream.StreamConfig) { s.Retention = jetstream.WorkQueuePolicy }, "retention"},
	} {
		t.Run(c.stream+" "+c.want, func(t *testing.T) {
			cfg := configs[c.stream]
			c.change(&cfg)
			if err := q.js.DeleteStream(t.Context(), c.stream); err != nil {
				t.Fatal(err)
			}
			if _, err := q.js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{"check": q.Check(t.Context()), "init": second(q.Init(t.Context(), InitConfig{}))} {
				if !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), c.stream) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := q.js.DeleteStream(t.Context(), c.stream); err != nil {
				t.Fatal(err)
			}
			initDid(t, q, InitConfig{})
		})
	}
	for _, c := range []struct {
		stream string
		change func(*jetstream.ConsumerConfig)
		want   string
	}{
		{"NOTIFY_BULK", func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 }, "max_deliver"},
		{"NOTIFY_BULK", func(c *jetstream.ConsumerConfig) { c.FilterSubject = JobSubject(Bulk, projectA) }, "filter"},
		{"NOTIFY_BULK", func(c *jetstream.ConsumerConfig) { c.AckWait = time.Second }, "ack_wait"},
		{"NOTIFY_BULK", func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true }, "headers_only"},
		{"NOTIFY_BULK", func(c *jetstream.ConsumerConfig) { c.MaxDeliver, c.BackOff = 9, []time.Duration{time.Minute} }, "backoff"},
		{LaterStream, func(c *jetstream.ConsumerConfig) { c.FilterSubject = "" }, "filter"},
	} {
		t.Run(c.stream+" consumer "+c.want, func(t *testing.T) {
			cfg := consumerConfig(c.stream)
			c.change(&cfg)
			if err := q.js.DeleteConsumer(t.Context(), c.stream, ConsumerName); err != nil {
				t.Fatal(err)
			}
			if _, err := q.js.CreateConsumer(t.Context(), c.stream, cfg); err != nil {
				t.Fatal(err)
			}
			if err := q.Check(t.Context()); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), c.stream) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("check: %v", err)
			}
			if err := q.js.DeleteConsumer(t.Context(), c.stream, ConsumerName); err != nil {
				t.Fatal(err)
			}
			initDid(t, q, InitConfig{})
		})
	}
}

func second[A, B any](_ A, b B) B { return b }

// Letters and schedules are named after the place where a job stood, so a stream that is made anew
// must not use the places of the old one.
func TestStreamMadeAnewUsesNoOldPlaces(t *testing.T) {
	t.Parallel()
	for _, gone := range [][]string{{"NOTIFY_NORMAL", LaterStream}, {"NOTIFY_NORMAL", DeadStream}} {
		t.Run(fmt.Sprint(gone), func(t *testing.T) {
			q := newQueue(t)
			jobs := openJobs(t, q, JobsConfig{})
			publish(t, q, Normal, job("old", "m", "w"))
			old := take(t, jobs, 1)[0]
			jobs.Close()
			for _, name := range gone {
				if err := q.js.DeleteStream(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			initDid(t, q, InitConfig{})
			publish(t, q, Normal, job("new", "m", "w"))
			fresh := take(t, openJobs(t, q, JobsConfig{}), 1)[0]
			if fresh.Origin() == old.Origin() {
				t.Errorf("the new job stands at %s, the old one stood at %s", fresh.Origin(), old.Origin())
			}
		})
	}
}

func TestInitWithTooSmallAMaxPayload(t *testing.T) {
	b := newServer(t, broker.Config{Dir: t.TempDir(), MaxPayload: 128 << 10})
	if _, err := connect(t, b).Init(t.Context(), InitConfig{}); err == nil || !strings.Contains(err.Error(), "max_payload") || !strings.Contains(err.Error(), "320 KiB") {
		t.Errorf("init: %v", err)
	}
}

// When the operator raises the server's max_payload, Init lets larger jobs in; lowering it is noticed.
func TestMaxPayloadChanges(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		maxPayload int32
		want       string
	}{{1 << 20, "created"}, {4 << 20, "updated"}, {1 << 20, ""}} {
		b, err := StartBroker(broker.Config{Dir: dir, MaxPayload: c.maxPayload})
		if err != nil {
			t.Fatal(err)
		}
		q := connect(t, b)
		if c.want == "" {
			if err := q.Check(t.Context()); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "max_payload") {
				t.Errorf("check after lowering: %v", err)
			}
		} else if did := initDid(t, q, InitConfig{}); did["NOTIFY_NORMAL"] != c.want || maxMsgSize(t, q, "NOTIFY_NORMAL") != int(jobSizeLimit(int64(c.maxPayload))) {
			t.Errorf("with %d: %v, limit %d", c.maxPayload, did, maxMsgSize(t, q, "NOTIFY_NORMAL"))
		}
		q.Close()
		b.Stop()
	}
}
