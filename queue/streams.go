package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of streams, subjects and consumers. Subjects and streams are a contract with users.
const (
	LaterStream = "NOTIFY_LATER"
	DeadStream  = "NOTIFY_DEAD"
	// ConsumerName is that of the one consumer of each job stream and of NOTIFY_LATER.
	ConsumerName = "worker"

	jobsPrefix  = "notify.jobs."  // notify.jobs.<priority>.<project_id>
	laterPrefix = "notify.later." // notify.later.<where the job stood>: schedules
	duePrefix   = "notify.due."   // notify.due.<priority>.<project_id>: what came due, and parts
	deadPrefix  = "notify.dead."  // notify.dead.<project_id>.<reason>.<where the job stood>

)

const (
	// ackWait is how long the server waits for a worker to renew a lease. A killed worker's jobs
	// come back after it.
	ackWait = 30 * time.Second
	// duplicateWindow is how long the server remembers a job's id: longer than any producer
	// retries, at 147 bytes of its memory per id (jetstream.md, finding 5).
	duplicateWindow = 10 * time.Minute
	// maxAckPending bounds the jobs held by all workers together: nine replicas' windows. A hundred
	// thousand held cost the rest 20 % of throughput (jetstream.md, section 1).
	maxAckPending = 200_000
	// maxJobSize bounds a job's payload where the server's max_payload allows it.
	maxJobSize = 1 << 20
	// letterMargin is room in a letter for what is neither the message nor a recipient's id.
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

// InitConfig says how [Queue.Init] creates what is missing. Zero values leave streams that exist
// as they are, so that Init can be run again without repeating what it was told the first time.
type InitConfig struct {
	// Replicas of every stream, 1, 3 or 5. Zero: 1 for a new stream.
	Replicas int
	// MaxBytes bounds each job stream and the dead letters; a full one refuses and drops nothing.
	// Zero: 1 GiB for a new stream. Negative: no bound but the server's.
	MaxBytes int64
	// MaxQueued bounds the queued jobs of one project in one priority. Zero: no bound for a new
	// stream. Negative: no bound.
	MaxQueued int64
}

// Change is what Init did to one stream.
type Change struct {
	Stream string `json:"stream"`
	Did    string `json:"did"` // created, updated or unchanged
}

// jobSizeLimit leaves room for the largest letter about a job: its recipients stand in it twice,
// and an invalid payload in base64.
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
		// Schedules cannot be had with DiscardNew, so this stream has no limit at all: with
		// DiscardOld a limit would drop jobs (jetstream.md, finding 4).
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
		// The dead-letter stream is the only exit: any other limit strands jobs (finding 2).
		MaxDeliver: -1, MaxAckPending: maxAckPending,
	}
	if stream == LaterStream {
		cfg.FilterSubject = duePrefix + ">"
	}
	return cfg
}

// Init creates the streams and consumers that are missing and raises limits that are lower than
// asked for. What would have to change in a way that could lose data it reports as an error, and
// leaves alone. It may be run again at any time.
func (q *Queue) Init(ctx context.Context, cfg InitConfig) ([]Change, error) {
	if size := jobSizeLimit(q.nc.MaxPayload()); size < 64<<10 {
		return nil, fmt.Errorf("the server's max_payload of %d bytes is too small for dead letters; set it to 320 KiB or more (2240 KiB allow jobs of 1 MiB)", q.nc.MaxPayload())
	}
	var changes []Change
	for _, want := range q.streamConfigs(cfg) {
		did, err := q.initStream(ctx, cfg, want)
		if err != nil {
			return changes, err
		}
		changes = append(changes, Change{want.Name, did})
	}
	return changes, q.Check(ctx)
}

func (q *Queue) initStream(ctx context.Context, cfg InitConfig, want jetstream.StreamConfig) (string, error) {
	stream, err := q.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if want.FirstSeq, err = q.firstSeq(ctx, want); err != nil {
			return "", err
		}
		if stream, err = q.js.CreateStream(ctx, want); err != nil {
			return "", fmt.Errorf("create stream %s: %w", want.Name, err)
		}
		return "created", q.initConsumer(ctx, stream, want.Name)
	case err != nil:
		return "", fmt.Errorf("look up stream %s: %w", want.Name, plainAPI(err))
	}
	have := stream.CachedInfo().Config
	if faults := streamFaults(have, want); len(faults) > 0 {
		return "", unsuitable(want.Name, faults)
	}
	raised, lower := raise(have, keep(cfg, have, want))
	if lower != "" {
		return "", fmt.Errorf("stream %s: %s; lowering a limit could lose data, so change it yourself with the nats CLI if you mean it", want.Name, lower)
	}
	if raised == nil {
		return "unchanged", q.initConsumer(ctx, stream, want.Name)
	}
	if stream, err = q.js.UpdateStream(ctx, *raised); err != nil {
		return "", fmt.Errorf("update stream %s: %w", want.Name, err)
	}
	return "updated", q.initConsumer(ctx, stream, want.Name)
}

// firstSeq lets a stream that is made anew while letters or schedules about an earlier one are
// kept begin at the time in milliseconds: places such as normal-4711 must never name two different
// jobs, or one letter or schedule would replace the other.
func (q *Queue) firstSeq(ctx context.Context, want jetstream.StreamConfig) (uint64, error) {
	if want.Retention != jetstream.WorkQueuePolicy {
		return 0, nil
	}
	for _, name := range []string{DeadStream, LaterStream} {
		switch _, err := q.js.Stream(ctx, name); {
		case err == nil:
			return uint64(time.Now().UnixMilli()), nil
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return 0, fmt.Errorf("look up stream %s: %w", name, plainAPI(err))
		}
	}
	return 0, nil
}

func (q *Queue) initConsumer(ctx context.Context, stream jetstream.Stream, name string) error {
	if name == DeadStream {
		return nil
	}
	_, err := stream.Consumer(ctx, ConsumerName)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = stream.CreateConsumer(ctx, consumerConfig(name))
	}
	if err != nil {
		return fmt.Errorf("create consumer %s of stream %s: %w", ConsumerName, name, err)
	}
	return nil
}

// keep leaves as they are the limits that were not asked for.
func keep(cfg InitConfig, have, want jetstream.StreamConfig) jetstream.StreamConfig {
	if cfg.Replicas == 0 {
		want.Replicas = have.Replicas
	}
	if cfg.MaxBytes == 0 {
		want.MaxBytes = have.MaxBytes
	}
	if cfg.MaxQueued == 0 {
		want.MaxMsgsPerSubject, want.DiscardNewPerSubject = have.MaxMsgsPerSubject, have.DiscardNewPerSubject
	}
	return want
}

// raise gives the configuration with the wanted limits where they are higher, nil where there is
// nothing to change, and says which wanted limit is lower.
func raise(have, want jetstream.StreamConfig) (raised *jetstream.StreamConfig, lower string) {
	cfg := have
	unlimited := func(n int64) int64 {
		if n <= 0 {
			return 1<<63 - 1
		}
		return n
	}
	switch h, w := unlimited(have.MaxBytes), unlimited(want.MaxBytes); {
	case w < h:
		return nil, fmt.Sprintf("its max_bytes is %d, asked for %d", have.MaxBytes, want.MaxBytes)
	case w > h:
		cfg.MaxBytes, raised = want.MaxBytes, &cfg
	}
	if want.Name != DeadStream {
		switch h, w := unlimited(have.MaxMsgsPerSubject), unlimited(want.MaxMsgsPerSubject); {
		case w < h:
			return nil, fmt.Sprintf("its quota per project is %d, asked for %d", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
		case w > h:
			cfg.MaxMsgsPerSubject, cfg.DiscardNewPerSubject, raised = want.MaxMsgsPerSubject, want.DiscardNewPerSubject, &cfg
		}
	}
	if have.MaxMsgSize > 0 && want.MaxMsgSize > have.MaxMsgSize { // the server's max_payload was raised
		cfg.MaxMsgSize, raised = want.MaxMsgSize, &cfg
	}
	switch {
	case want.Replicas < have.Replicas:
		return nil, fmt.Sprintf("it has %d replicas, asked for %d", have.Replicas, want.Replicas)
	case want.Replicas > have.Replicas:
		cfg.Replicas, raised = want.Replicas, &cfg
	}
	return raised, ""
}

// streamFaults lists what about a stream would break a promise.
func streamFaults(have, want jetstream.StreamConfig) (faults []string) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	check(slices.Equal(have.Subjects, want.Subjects), "its subjects are %v, must be %v", have.Subjects, want.Subjects)
	check(have.Retention == want.Retention, "its retention is %v, must be %v", have.Retention, want.Retention)
	check(have.Storage == jetstream.FileStorage, "its storage is memory, must be file: a restart would lose it")
	check(have.Discard == want.Discard, "its discard policy is %v, must be %v", have.Discard, want.Discard)
	check(have.MaxAge == 0, "its max_age is %v, must be 0: what is too old would vanish without a letter", have.MaxAge)
	check(have.AllowMsgSchedules == want.AllowMsgSchedules, "allow_msg_schedules is %v, must be %v", have.AllowMsgSchedules, want.AllowMsgSchedules)
	check(have.Discard != jetstream.DiscardOld || (have.MaxMsgs <= 0 && have.MaxBytes <= 0 && have.MaxMsgsPerSubject <= 0),
		"it has limits although it discards old messages: waiting jobs would vanish")
	check(!have.NoAck, "no_ack is set: publications would not be confirmed")
	check(have.PersistMode == want.PersistMode, "its persist_mode is async, must be the default: publications would be confirmed before they are written")
	if want.MaxMsgSize > 0 {
		check(have.MaxMsgSize > 0 && have.MaxMsgSize <= want.MaxMsgSize,
			"its max_msg_size is %d, must be 1 to %d: the dead letter of a larger job would exceed the server's max_payload", have.MaxMsgSize, want.MaxMsgSize)
		check(have.MaxMsgsPerSubject <= 0 || have.DiscardNewPerSubject, "it has max_msgs_per_subject without discard_new_per_subject: a project's older jobs would vanish")
	} else {
		check(have.MaxMsgSize <= 0, "its max_msg_size is %d, must be none: large jobs could not be settled", have.MaxMsgSize)
	}
	if want.Name == DeadStream {
		check(!have.DiscardNewPerSubject, "discard_new_per_subject is set: a job could not be buried again after a crash")
		check(!have.DenyDelete, "deny_delete is set: letters could not be replayed or dropped")
		check(have.MaxMsgsPerSubject == 1, "its max_msgs_per_subject is %d, must be 1: a job buried again would have two letters", have.MaxMsgsPerSubject)
	}
	return faults
}

// consumerFaults lists what about a consumer would strand or repeat jobs.
func consumerFaults(have, want jetstream.ConsumerConfig) (faults []string) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	check(have.AckPolicy == jetstream.AckExplicitPolicy, "its ack policy is %v, must be explicit", have.AckPolicy)
	check(have.MaxDeliver <= 0, "max_deliver is %d, must be unlimited: it strands jobs", have.MaxDeliver)
	check(have.FilterSubject == want.FilterSubject && len(have.FilterSubjects) == 0, "its filter is %q%v, must be %q", have.FilterSubject, have.FilterSubjects, want.FilterSubject)
	check(!have.HeadersOnly, "headers_only is set: jobs would come without their payload")
	check(len(have.BackOff) == 0, "it has a backoff %v, must have none", have.BackOff)
	check(have.MaxAckPending < 0 || have.MaxAckPending >= 1000, "its max_ack_pending is %d, must be 1000 or more: all workers together could hold no more", have.MaxAckPending)
	check(have.AckWait >= 10*time.Second, "its ack_wait is %v, must be 10s or more", have.AckWait)
	return faults
}

// ErrNotReady is matched by what [Queue.Check] returns when streams are missing or unsuitable.
var ErrNotReady = errors.New("streams not ready")

func unsuitable(name string, faults []string) error {
	return fmt.Errorf("%w: %s: %s", ErrNotReady, name, strings.Join(faults, "; "))
}

// Check tells what is missing or unsuitable among streams and consumers; nil means that all
// promises can be kept. It changes nothing.
func (q *Queue) Check(ctx context.Context) error {
	var missing []string
	var errs []error
	for _, want := range q.streamConfigs(InitConfig{}) {
		stream, err := q.js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			missing = append(missing, want.Name)
			continue
		}
		if err != nil {
			return fmt.Errorf("look up stream %s: %w", want.Name, plainAPI(err))
		}
		if faults := streamFaults(stream.CachedInfo().Config, want); len(faults) > 0 {
			errs = append(errs, unsuitable(want.Name, faults))
		}
		if want.Name == DeadStream {
			continue
		}
		consumer, err := stream.Consumer(ctx, ConsumerName)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			missing = append(missing, "consumer "+ConsumerName+" of "+want.Name)
			continue
		}
		if err != nil {
			return fmt.Errorf("look up consumer of %s: %w", want.Name, plainAPI(err))
		}
		if faults := consumerFaults(consumer.CachedInfo().Config, consumerConfig(want.Name)); len(faults) > 0 {
			errs = append(errs, unsuitable("consumer "+ConsumerName+" of "+want.Name, faults))
		}
	}
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("%w: missing: %s; create them with: chatrelay init", ErrNotReady, strings.Join(missing, ", ")))
	}
	return errors.Join(errs...)
}

// plainAPI says in plain words that the server has no JetStream.
func plainAPI(err error) error {
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return fmt.Errorf("this NATS server has JetStream turned off; start it with -js (%w)", err)
	}
	return err
}
