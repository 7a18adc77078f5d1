package queue

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of streams, subjects and consumers. Subjects and streams are a contract with users.
const (
	LaterStream = "NOTIFY_LATER"
	DeadStream  = "NOTIFY_DEAD"
	// ConsumerName is the name of the one consumer of each job stream and of NOTIFY_LATER.
	ConsumerName = "worker"

	jobsPrefix  = "notify.jobs."  // notify.jobs.<priority>.<project_id>
	laterPrefix = "notify.later." // notify.later.<project_id>.<origin>: schedules; before, without the project
	duePrefix   = "notify.due."   // notify.due.<priority>.<project_id>: deferred jobs whose time has come, and parts
	deadPrefix  = "notify.dead."  // notify.dead.<project_id>.<reason>.<origin>

)

const (
	// ackWait is how long the server waits for a worker to renew a lease. A killed worker's jobs
	// come back after it.
	ackWait = 30 * time.Second
	// duplicateWindow is how long the server remembers a job's id: longer than a producer retries.
	// An id takes 147 bytes of its memory.
	duplicateWindow = 10 * time.Minute
	// maxAckPending bounds the jobs held by all workers together: the windows of nine replicas,
	// and what they pull beyond these. With 100,000 held, the throughput of the rest was 20 % lower.
	maxAckPending = 200_000
	// maxJobSize bounds a job's payload where the server's max_payload allows it.
	maxJobSize = 1 << 20
	// letterMargin is room in a letter for all but the message and the recipients.
	letterMargin = 192 << 10
)

// JobStream names the stream of a priority.
func JobStream(p Priority) string { return "NOTIFY_" + strings.ToUpper(string(p)) }

// JobSubject is where jobs of a project are published.
func JobSubject(p Priority, projectID string) string { return jobsPrefix + string(p) + "." + projectID }

// streamLabel is a stream's name in letters and schedules: normal for NOTIFY_NORMAL.
func streamLabel(stream string) string {
	return strings.ToLower(strings.TrimPrefix(stream, "NOTIFY_"))
}

// jobSizeLimit leaves room for the largest letter about a job: it names the recipients twice, and
// holds an invalid payload in base64.
func jobSizeLimit(maxPayload int64) int32 {
	return int32(min(maxJobSize, (maxPayload-letterMargin)/2))
}

func (q *Queue) streamConfigs(cfg InitConfig) []jetstream.StreamConfig {
	if cfg.Replicas == 0 {
		cfg.Replicas = 1
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 30
	}
	if cfg.MaxBytes < 0 {
		cfg.MaxBytes = -1
	}
	if cfg.MaxQueued <= 0 {
		cfg.MaxQueued = -1
	}
	var streams []jetstream.StreamConfig
	for _, p := range Priorities() {
		streams = append(streams, jetstream.StreamConfig{
			Name: JobStream(p), Subjects: []string{jobsPrefix + string(p) + ".*"},
			Description: "Chatrelay: " + string(p) + " notification jobs",
			Retention:   jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Replicas: cfg.Replicas,
			Discard: jetstream.DiscardNew, MaxBytes: cfg.MaxBytes, MaxMsgSize: jobSizeLimit(q.nc.MaxPayload()),
			MaxMsgsPerSubject: cfg.MaxQueued, DiscardNewPerSubject: cfg.MaxQueued > 0,
			Duplicates: duplicateWindow, AllowDirect: true,
		})
	}
	return append(streams, jetstream.StreamConfig{
		Name: LaterStream, Subjects: []string{laterPrefix + ">", duePrefix + ">"},
		Description: "Chatrelay: jobs that wait for their time, and what has come due",
		Retention:   jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Replicas: cfg.Replicas,
		// The server refuses schedules together with DiscardNew. With DiscardOld a limit would drop
		// jobs, so this stream has none.
		Discard: jetstream.DiscardOld, AllowMsgSchedules: true,
		Duplicates: time.Hour, AllowDirect: true,
	}, jetstream.StreamConfig{
		Name: DeadStream, Subjects: []string{deadPrefix + ">"},
		Description: "Chatrelay: dead letters",
		Retention:   jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Replicas: cfg.Replicas,
		Discard: jetstream.DiscardNew, MaxBytes: cfg.MaxBytes,
		// One letter per subject: burying a job again replaces its letter.
		MaxMsgsPerSubject: 1, Duplicates: 2 * time.Minute, AllowDirect: true,
	})
}

func consumerConfig(stream string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable: ConsumerName, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		// With a limit, a job that reached it would stay in the stream for ever without being
		// delivered or counted as pending.
		MaxDeliver: -1, MaxAckPending: maxAckPending,
	}
	if stream == LaterStream {
		cfg.FilterSubject = duePrefix + ">"
	}
	return cfg
}
