package queue

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// anewConsumer is what puts right a setting of a consumer that the server does not change. What workers hold is
// delivered once more then.
func anewConsumer(stream string) string {
	return "nats consumer rm " + stream + " " + ConsumerName + ", and create it anew: chatrelay init"
}

// consumerFaults lists the settings of a consumer that strand or repeat jobs, those that are tight, and whether
// it is paused. What is not mentioned does no harm: description, metadata, samples, and max_batch and max_expires,
// to which pulls are adapted. A rate limit and a heartbeat the server does not allow here.
func consumerFaults(info *jetstream.ConsumerInfo, stream string, maxPayload int64) (faults []Fault) {
	have, want := info.Config, consumerConfig(stream)
	add := func(kind FaultKind, ok bool, remedy, format string, args ...any) {
		if !ok {
			faults = append(faults, Fault{kind, stream, true, fmt.Sprintf(format, args...), remedy})
		}
	}
	edit := func(flags string) string { return "nats consumer edit " + stream + " " + ConsumerName + " " + flags }
	anew := anewConsumer(stream)
	unsafe := func(ok bool, remedy, format string, args ...any) { add(FaultUnsafe, ok, remedy, format, args...) }

	unsafe(have.AckPolicy == jetstream.AckExplicitPolicy, anew, "its ack policy is %v, must be explicit", have.AckPolicy)
	unsafe(have.DeliverPolicy == jetstream.DeliverAllPolicy, anew, "its deliver policy is %v, must be all: older jobs would never be delivered", have.DeliverPolicy)
	unsafe(have.ReplayPolicy == jetstream.ReplayInstantPolicy, anew, "its replay policy is original, must be instant: jobs would come as slowly as they were published")
	unsafe(!have.MemoryStorage, anew, "its mem_storage is true, must be false: after a restart of the server all that is held would be delivered again")
	unsafe(have.PriorityPolicy == jetstream.PriorityPolicyNone, anew, "it has a priority policy, must have none: it would serve some workers only, or none")
	unsafe(have.MaxWaiting >= leastWaiting, anew, "its max_waiting is %d, must be %d or more: the pulls of several workers would drive each other out", have.MaxWaiting, leastWaiting)
	unsafe(have.InactiveThreshold <= 0, edit("--interactive, and remove its inactive_threshold"), "its inactive_threshold is %v, must be none: it would be removed while no worker runs", have.InactiveThreshold)
	// Jobs that have reached it stay stranded when it is raised.
	unsafe(have.MaxDeliver <= 0, anew, "its max_deliver is %d, must be unlimited: it strands jobs", have.MaxDeliver)
	unsafe(have.FilterSubject == want.FilterSubject && len(have.FilterSubjects) == 0, anew, "its filter is %q%v, must be %q", have.FilterSubject, have.FilterSubjects, want.FilterSubject)
	unsafe(!have.HeadersOnly, edit("--no-headers-only"), "its headers_only is true, must be false: jobs would come without their payload")
	unsafe(len(have.BackOff) == 0, anew, "it has a backoff %v, must have none: leases would lapse before they are renewed", have.BackOff)
	unsafe(have.MaxAckPending < 0 || have.MaxAckPending >= leastAckPending, edit(fmt.Sprintf("--max-pending=%d", want.MaxAckPending)),
		"its max_ack_pending is %d, must be %d or more: all workers together could hold no more", have.MaxAckPending, leastAckPending)
	unsafe(have.AckWait >= 10*time.Second, edit("--wait="+short(want.AckWait)), "its ack_wait is %v, must be 10s or more: leases would lapse before they are renewed", have.AckWait)
	unsafe(have.AckWait <= time.Hour, edit("--wait="+short(want.AckWait)), "its ack_wait is %v, must be 1h or less: a killed worker's jobs come back after it", have.AckWait)
	unsafe(have.MaxRequestMaxBytes <= 0 || int64(have.MaxRequestMaxBytes) >= maxPayload, edit("--interactive, and remove its max_bytes"),
		"its max_bytes is %d, must be none: a larger job would never be delivered, and those behind it neither", have.MaxRequestMaxBytes)
	if info.Paused {
		text := "it is paused: nothing is delivered from it"
		if have.PauseUntil != nil {
			text += " until " + have.PauseUntil.UTC().Format(time.RFC3339)
		}
		add(FaultPaused, false, "nats consumer resume "+stream+" "+ConsumerName, "%s", text)
	}
	if have.MaxAckPending >= leastAckPending {
		add(FaultTight, have.MaxAckPending >= want.MaxAckPending, edit(fmt.Sprintf("--max-pending=%d", want.MaxAckPending)),
			"its max_ack_pending is %d, better %d: all workers together hold no more jobs of this stream", have.MaxAckPending, want.MaxAckPending)
	}
	return faults
}
