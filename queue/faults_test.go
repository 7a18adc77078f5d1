package queue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Each edit that nats-server takes, of a stream or consumer that exists, is named with what it must be and the
// command that puts it right.
func TestFaultsOfEditedStreams(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	type edit = func(*jetstream.StreamConfig)
	for _, c := range []struct {
		stream, name string
		edit         edit
		anew         bool // the server does not take it as an edit: the stream is made so
		want, remedy string
	}{
		{"NOTIFY_NORMAL", "window", func(s *jetstream.StreamConfig) { s.Duplicates = 2 * time.Second }, false, "its duplicate_window is 2s, must be 2m0s or more", "nats stream edit NOTIFY_NORMAL --dupe-window=10m"},
		{LaterStream, "window", func(s *jetstream.StreamConfig) { s.Duplicates = time.Minute }, false, "its duplicate_window is 1m0s, must be 2m0s or more", "nats stream edit NOTIFY_LATER --dupe-window=1h"},
		{"NOTIFY_NORMAL", "ttl", func(s *jetstream.StreamConfig) { s.AllowMsgTTL = true }, true, "its allow_msg_ttl is true, must be false", "nats stream restore DIR --config FILE"},
		{LaterStream, "ttl", func(s *jetstream.StreamConfig) { s.AllowMsgTTL = true }, true, "its allow_msg_ttl is true, must be false", "nats stream restore DIR --config FILE"},
		{DeadStream, "ttl", func(s *jetstream.StreamConfig) { s.AllowMsgTTL = true }, true, "its allow_msg_ttl is true, must be false", "nats stream restore DIR --config FILE"},
		{"NOTIFY_NORMAL", "delete markers", func(s *jetstream.StreamConfig) { s.SubjectDeleteMarkerTTL = time.Minute }, true, "its allow_msg_ttl is true, must be false", "nats stream restore DIR --config FILE"},
		{"NOTIFY_NORMAL", "rollup", func(s *jetstream.StreamConfig) { s.AllowRollup = true }, false, "its allow_rollup_hdrs is true, must be false", "nats stream edit NOTIFY_NORMAL --no-allow-rollup"},
		{DeadStream, "rollup", func(s *jetstream.StreamConfig) { s.AllowRollup = true }, false, "its allow_rollup_hdrs is true, must be false", "nats stream edit NOTIFY_DEAD --no-allow-rollup"},
		{"NOTIFY_BULK", "sealed", func(s *jetstream.StreamConfig) { s.Sealed = true }, false, "it is sealed", "nats stream restore DIR --config FILE"},
		{"NOTIFY_BULK", "sources", func(s *jetstream.StreamConfig) { s.Sources = []*jetstream.StreamSource{{Name: "ELSEWHERE"}} }, false, "it has sources, must have none", "nats stream edit NOTIFY_BULK --interactive"},
		{"NOTIFY_BULK", "republish", func(s *jetstream.StreamConfig) {
			s.RePublish = &jetstream.RePublish{Source: ">", Destination: "copies.>"}
		}, false, "it is republished, must not be", "nats stream edit NOTIFY_BULK --no-republish"},
		{"NOTIFY_BULK", "transform", func(s *jetstream.StreamConfig) {
			s.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "notify.jobs.bulk.*", Destination: "notify.jobs.bulk.x"}
		}, false, "it has a subject_transform, must have none", "nats stream edit NOTIFY_BULK --no-transform"},
		{"NOTIFY_BULK", "no_ack", func(s *jetstream.StreamConfig) { s.NoAck = true }, false, "its no_ack is true, must be false", "nats stream edit NOTIFY_BULK --ack"},
		{"NOTIFY_BULK", "async", func(s *jetstream.StreamConfig) { s.PersistMode = jetstream.AsyncPersistMode }, true, "its persist_mode is async", "nats stream restore DIR --config FILE"},
		{"NOTIFY_BULK", "age", func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour }, false, "its max_age is 1h0m0s, must be 0", "nats stream edit NOTIFY_BULK --max-age=0s"},
		{DeadStream, "age", func(s *jetstream.StreamConfig) { s.MaxAge = time.Hour }, false, "its max_age is 1h0m0s, must be 0", "nats stream edit NOTIFY_DEAD --max-age=0s"},
		{"NOTIFY_BULK", "discard", func(s *jetstream.StreamConfig) { s.Discard = jetstream.DiscardOld }, false, "its discard policy is DiscardOld, must be DiscardNew", "nats stream edit NOTIFY_BULK --discard=new"},
		{"NOTIFY_BULK", "quota", func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 5 }, false, "max_msgs_per_subject without discard_new_per_subject", "nats stream edit NOTIFY_BULK --discard-per-subject"},
		{"NOTIFY_BULK", "size", func(s *jetstream.StreamConfig) { s.MaxMsgSize = 3 << 20 }, false, "its max_msg_size is 3145728, must be 1 to 1048576", "nats stream edit NOTIFY_BULK --max-msg-size=1048576"},
		{LaterStream, "size", func(s *jetstream.StreamConfig) { s.MaxMsgSize = 1000 }, false, "its max_msg_size is 1000, must be none", "nats stream edit NOTIFY_LATER --max-msg-size=-1"},
		{LaterStream, "count", func(s *jetstream.StreamConfig) { s.MaxMsgs = 10 }, false, "limits of max_msgs or max_msgs_per_subject, must have none", "nats stream edit NOTIFY_LATER --max-msgs=-1"},
		{LaterStream, "quota", func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 1 }, false, "limits of max_msgs or max_msgs_per_subject, must have none", "nats stream edit NOTIFY_LATER --max-msgs=-1 --max-msgs-per-subject=-1"},
		{LaterStream, "bytes", func(s *jetstream.StreamConfig) { s.MaxBytes = 1 << 20 }, false, "max_bytes is 1048576, must be none, or 67108864 or more", "nats stream edit NOTIFY_LATER --max-bytes=67108864"},
		{LaterStream, "inactive", func(s *jetstream.StreamConfig) { s.ConsumerLimits.InactiveThreshold = time.Hour }, true, "its consumer_limits have an inactive_threshold of 1h0m0s, must have none", "nats stream edit NOTIFY_LATER --interactive"},
		{LaterStream, "schedules", func(s *jetstream.StreamConfig) { s.AllowMsgSchedules = false }, true, "its allow_msg_schedules is false, must be true", "nats stream edit NOTIFY_LATER --allow-schedules"},
		{DeadStream, "letters", func(s *jetstream.StreamConfig) { s.MaxMsgsPerSubject = 2 }, false, "its max_msgs_per_subject is 2, must be 1", "nats stream edit NOTIFY_DEAD --max-msgs-per-subject=1"},
		{DeadStream, "per subject", func(s *jetstream.StreamConfig) { s.DiscardNewPerSubject = true }, false, "its discard_new_per_subject is true, must be false", "nats stream edit NOTIFY_DEAD --no-discard-per-subject"},
		{DeadStream, "consumers", func(s *jetstream.StreamConfig) { s.MaxConsumers = 1 }, true, "its max_consumers is 1, must be none", "nats stream restore DIR --config FILE"},
		{"NOTIFY_BULK", "memory", func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage }, true, "its storage is memory, must be file", "nats stream rm NOTIFY_BULK, and create it anew: chatrelay init"},
		{DeadStream, "memory", func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage }, true, "its storage is memory, must be file", "replay its letters"},
		{"NOTIFY_BULK", "deny_delete", func(s *jetstream.StreamConfig) { s.DenyDelete = true }, true, "its deny_delete is true, must be false: what is done", "nats stream restore DIR --config FILE"},
		{DeadStream, "deny_delete", func(s *jetstream.StreamConfig) { s.DenyDelete = true }, true, "its deny_delete is true, must be false", "nats stream restore DIR --config FILE"},
	} {
		t.Run(c.stream+" "+c.name, func(t *testing.T) {
			stream, err := q.js.Stream(t.Context(), c.stream)
			if err != nil {
				t.Fatal(err)
			}
			before := stream.CachedInfo().Config
			cfg := before
			c.edit(&cfg)
			if c.anew {
				if err := q.js.DeleteStream(t.Context(), c.stream); err != nil {
					t.Fatal(err)
				}
				if _, err := q.js.CreateStream(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
				if c.stream != DeadStream {
					consumer := consumerConfig(c.stream)
					if _, err := q.js.CreateConsumer(t.Context(), c.stream, consumer); err != nil {
						t.Fatal(err)
					}
				}
			} else if _, err := q.js.UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			expectFault(t, q, FaultUnsafe, c.stream, c.want, c.remedy)
			err = q.Check(t.Context())
			if !errors.Is(err, ErrNotReady) || errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.remedy) {
				t.Errorf("check: %v", err)
			}
			if _, err := q.Init(t.Context(), InitConfig{}); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("init: %v", err)
			}
			if err := q.js.DeleteStream(t.Context(), c.stream); err != nil {
				t.Fatal(err)
			}
			initDid(t, q, InitConfig{})
		})
	}
}

func TestFaultsOfEditedConsumers(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	soon := time.Now().Add(time.Hour)
	for _, c := range []struct {
		name         string
		edit         func(*jetstream.ConsumerConfig)
		kind         FaultKind
		want, remedy string
	}{
		{"max_deliver", func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 5 }, FaultUnsafe, "its max_deliver is 5, must be unlimited", "nats consumer rm NOTIFY_BULK worker"},
		{"filter", func(c *jetstream.ConsumerConfig) { c.FilterSubject = JobSubject(Bulk, projectA) }, FaultUnsafe, "its filter is", "nats consumer rm NOTIFY_BULK worker"},
		{"filters", func(c *jetstream.ConsumerConfig) {
			c.FilterSubjects = []string{JobSubject(Bulk, projectA), JobSubject(Bulk, projectB)}
		}, FaultUnsafe, "its filter is", "nats consumer rm NOTIFY_BULK worker"},
		{"ack_wait", func(c *jetstream.ConsumerConfig) { c.AckWait = time.Second }, FaultUnsafe, "its ack_wait is 1s, must be 10s or more", "nats consumer edit NOTIFY_BULK worker --wait=30s"},
		{"long ack_wait", func(c *jetstream.ConsumerConfig) { c.AckWait = 24 * time.Hour }, FaultUnsafe, "its ack_wait is 24h0m0s, must be 1h or less", "nats consumer edit NOTIFY_BULK worker --wait=30s"},
		{"headers_only", func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true }, FaultUnsafe, "its headers_only is true, must be false", "nats consumer edit NOTIFY_BULK worker --no-headers-only"},
		{"backoff", func(c *jetstream.ConsumerConfig) { c.MaxDeliver, c.BackOff = 9, []time.Duration{time.Minute} }, FaultUnsafe, "it has a backoff", "nats consumer rm NOTIFY_BULK worker"},
		{"max_ack_pending", func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 10 }, FaultUnsafe, "its max_ack_pending is 10, must be 1000 or more", "nats consumer edit NOTIFY_BULK worker --max-pending=200000"},
		{"tight max_ack_pending", func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 10_000 }, FaultTight, "its max_ack_pending is 10000, better 200000", "nats consumer edit NOTIFY_BULK worker --max-pending=200000"},
		{"inactive", func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour }, FaultUnsafe, "its inactive_threshold is 1h0m0s, must be none", "nats consumer edit NOTIFY_BULK worker --interactive"},
		{"max_waiting", func(c *jetstream.ConsumerConfig) { c.MaxWaiting = 2 }, FaultUnsafe, "its max_waiting is 2, must be 64 or more", "nats consumer rm NOTIFY_BULK worker"},
		{"max_bytes", func(c *jetstream.ConsumerConfig) { c.MaxRequestMaxBytes = 1000 }, FaultUnsafe, "its max_bytes is 1000, must be none", "nats consumer edit NOTIFY_BULK worker --interactive"},
		{"memory", func(c *jetstream.ConsumerConfig) { c.MemoryStorage = true }, FaultUnsafe, "its mem_storage is true, must be false", "nats consumer rm NOTIFY_BULK worker"},
		{"replay", func(c *jetstream.ConsumerConfig) { c.ReplayPolicy = jetstream.ReplayOriginalPolicy }, FaultUnsafe, "its replay policy is original, must be instant", "nats consumer rm NOTIFY_BULK worker"},
		{"pinned", func(c *jetstream.ConsumerConfig) {
			c.PriorityPolicy, c.PriorityGroups, c.PinnedTTL = jetstream.PriorityPolicyPinned, []string{"a"}, time.Minute
		}, FaultUnsafe, "it has a priority policy, must have none", "nats consumer rm NOTIFY_BULK worker"},
		{"paused", func(c *jetstream.ConsumerConfig) { c.PauseUntil = &soon }, FaultPaused, "it is paused: nothing is delivered from it until " + soon.UTC().Format(time.RFC3339), "nats consumer resume NOTIFY_BULK worker"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := consumerConfig("NOTIFY_BULK")
			c.edit(&cfg)
			remake(t, q, cfg)
			expectFault(t, q, c.kind, "NOTIFY_BULK", c.want, c.remedy)
			err := q.Check(t.Context())
			if unsafe := c.kind == FaultUnsafe; errors.Is(err, ErrNotReady) != unsafe || (err != nil) != unsafe {
				t.Errorf("check: %v", err)
			}
			changes, err := q.Init(t.Context(), InitConfig{})
			if warned := warnings(changes); c.kind != FaultUnsafe && (err != nil || !strings.Contains(warned, c.want) || !strings.Contains(warned, c.remedy)) {
				t.Errorf("init warns of %q (%v)", warned, err)
			}
		})
	}
	t.Run("push", func(t *testing.T) {
		cfg := consumerConfig("NOTIFY_BULK")
		cfg.DeliverSubject = "elsewhere"
		if err := q.js.DeleteConsumer(t.Context(), "NOTIFY_BULK", ConsumerName); err != nil {
			t.Fatal(err)
		}
		if _, err := q.js.CreatePushConsumer(t.Context(), "NOTIFY_BULK", cfg); err != nil {
			t.Fatal(err)
		}
		expectFault(t, q, FaultUnsafe, "NOTIFY_BULK", "it has a deliver_subject, must have none", "nats consumer rm NOTIFY_BULK worker")
		if _, err := q.Init(t.Context(), InitConfig{}); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "deliver_subject") {
			t.Errorf("init: %v", err)
		}
	})
}

// What does no harm is no fault.
func TestHarmlessEditsAreNoFaults(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, "NOTIFY_BULK", func(s *jetstream.StreamConfig) {
		s.Compression, s.AllowAtomicPublish, s.AllowBatchPublish, s.AllowDirect, s.MaxMsgs = jetstream.S2Compression, true, true, false, 1000
		s.MaxMsgsPerSubject, s.DiscardNewPerSubject, s.Metadata = 10, true, map[string]string{"owner": "us"}
	})
	limit(t, q, LaterStream, func(s *jetstream.StreamConfig) { s.MaxBytes = 64 << 20 })
	cfg := consumerConfig("NOTIFY_BULK")
	cfg.MaxRequestBatch, cfg.MaxRequestExpires, cfg.SampleFrequency, cfg.MaxAckPending = 100, 5*time.Second, "10", -1
	past := time.Now().Add(-time.Hour)
	cfg.PauseUntil = &past
	remake(t, q, cfg)
	faults, err := q.Faults(t.Context())
	if err != nil || len(faults) > 0 {
		t.Errorf("faults %v (%v)", faults, err)
	}
}

func TestAShorterWindowIsTight(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, "NOTIFY_BULK", func(s *jetstream.StreamConfig) { s.Duplicates = 2 * time.Minute })
	expectFault(t, q, FaultTight, "NOTIFY_BULK", "its duplicate_window is 2m0s, better 10m0s", "nats stream edit NOTIFY_BULK --dupe-window=10m")
	changes, err := q.Init(t.Context(), InitConfig{})
	if err != nil || !strings.Contains(warnings(changes), "duplicate_window") {
		t.Errorf("init: %+v, %v", changes, err)
	}
}

// remake makes the consumer of NOTIFY_BULK anew.
func remake(t *testing.T, q *Queue, cfg jetstream.ConsumerConfig) {
	t.Helper()
	if err := q.js.DeleteConsumer(t.Context(), "NOTIFY_BULK", ConsumerName); err != nil {
		t.Fatal(err)
	}
	if _, err := q.js.CreateConsumer(t.Context(), "NOTIFY_BULK", cfg); err != nil {
		t.Fatal(err)
	}
}

// What no server of today lets anybody set in these streams is a fault all the same.
func TestFaultsThatTheServerPrevents(t *testing.T) {
	want := jetstream.StreamConfig{Name: JobStream(Urgent)}
	have := want
	have.Mirror = &jetstream.StreamSource{Name: "OTHER"}
	consumer := &jetstream.ConsumerInfo{Config: consumerConfig(want.Name)}
	consumer.Config.AckPolicy, consumer.Config.DeliverPolicy = jetstream.AckNonePolicy, jetstream.DeliverNewPolicy
	faults := append(streamFaults(have, want), consumerFaults(consumer, want.Name, 1<<20)...)
	for _, text := range []string{"it is a mirror", "its ack policy is ", "its deliver policy is new"} {
		if !slices.ContainsFunc(faults, func(f Fault) bool { return f.Kind == FaultUnsafe && strings.Contains(f.Text, text) }) {
			t.Errorf("no fault %q among %v", text, faults)
		}
	}
}

// expectFault looks for one fault of a stream or its consumer.
func expectFault(t *testing.T, q *Queue, kind FaultKind, stream, text, remedy string) {
	t.Helper()
	faults, err := q.Faults(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		if f.Kind == kind && f.Stream == stream && strings.Contains(f.Text, text) && strings.Contains(f.Remedy, remedy) {
			if whole := f.Text + " (" + f.Remedy + ")"; len(whole) > maxWords {
				t.Errorf("status would cut it: %d bytes: %s", len(whole), whole)
			}
			return
		}
	}
	t.Errorf("no fault of %s with %q and %q among %v", stream, text, remedy, faults)
}

func warnings(changes []Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, c.Warnings...)
	}
	return strings.Join(all, "\n")
}
