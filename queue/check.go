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

// Check returns an error that names every stream and consumer that is missing or unsuitable, and
// changes nothing. The error matches [ErrNotReady], and also [ErrMissing] if something is missing. It
// matches [ErrNoJetStream] if nothing could be looked up.
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
			return lookupError("stream "+want.Name, err)
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
			return lookupError("consumer "+ConsumerName+" of "+want.Name, err)
		}
		if faults := consumerFaults(consumer.CachedInfo().Config, consumerConfig(want.Name)); len(faults) > 0 {
			errs = append(errs, unsuitable("consumer "+ConsumerName+" of "+want.Name, faults))
		}
	}
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("%w: %s", ErrMissing, strings.Join(missing, ", ")))
	}
	return errors.Join(errs...)
}

func unsuitable(name string, faults []string) error {
	return fmt.Errorf("%w: %s: %s", ErrNotReady, name, strings.Join(faults, "; "))
}

// streamFaults lists the settings of a stream that could lose or repeat jobs.
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
	check(have.MaxAge == 0, "its max_age is %v, must be 0: older messages would vanish without a dead letter", have.MaxAge)
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

// consumerFaults lists the settings of a consumer that could strand or repeat jobs.
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
