package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// restore is what puts right a setting of a stream that the server does not change. Workers refuse such a stream, so
// that none need be there to empty it; and letters nobody empties.
func restore(stream string) string {
	return fmt.Sprintf("it cannot be edited: stop producers and workers, nats stream backup %[1]s DIR, nats stream rm %[1]s, "+
		"nats stream restore DIR --config FILE, with the corrected config of nats stream info %[1]s --json, and chatrelay init", stream)
}

// anewStream is the same for a stream in memory, of which the server makes no backup.
func anewStream(stream string) string {
	empty := "let the workers that run still empty it"
	if stream == DeadStream {
		empty = "replay its letters, or keep them by chatrelay dead list --output json"
	}
	return "it cannot be edited: stop the producers, " + empty + ", nats stream rm " + stream + ", and create it anew: chatrelay init"
}

// streamFaults lists the settings of a stream that lose, strand or repeat jobs, and those that are tight. What
// is not mentioned does no harm: compression, placement, metadata, deny_purge, allow_atomic, allow_batched (what
// is published in a batch is not acknowledged before it is stored), first_seq and direct access. A counter the
// server does not allow in these streams.
func streamFaults(have, want jetstream.StreamConfig) (faults []Fault) {
	check := func(ok bool, remedy, format string, args ...any) {
		if !ok {
			faults = append(faults, Fault{FaultUnsafe, want.Name, false, fmt.Sprintf(format, args...), remedy})
		}
	}
	edit := func(flags string) string { return "nats stream edit " + want.Name + " " + flags }
	anew := restore(want.Name)
	dead, later := want.Name == DeadStream, want.Name == LaterStream

	check(!have.Sealed, anew, "it is sealed: nothing could be stored or acked")
	check(have.Retention == want.Retention, anew, "its retention is %v, must be %v", have.Retention, want.Retention)
	check(have.Storage == jetstream.FileStorage, anewStream(want.Name), "its storage is memory, must be file: a restart would lose it")
	check(have.PersistMode == want.PersistMode, anew, "its persist_mode is async, must be the default: publications would be confirmed before they are written")
	check(have.AllowMsgSchedules == want.AllowMsgSchedules, allowOrAnew(want, edit("--allow-schedules")), "its allow_msg_schedules is %v, must be %v", have.AllowMsgSchedules, want.AllowMsgSchedules)
	check(!have.AllowMsgTTL, anew, "its allow_msg_ttl is true, must be false: a message with a Nats-TTL header would vanish, without a dead letter")
	check(!dead || !have.DenyDelete, anew, "its deny_delete is true, must be false: letters could not be replayed or dropped")
	check(dead || !have.DenyDelete, anew, "its deny_delete is true, must be false: what is done could not be taken out when the consumer is made anew, and would be delivered twice")

	check(slices.Equal(have.Subjects, want.Subjects), edit("--subjects="+strings.Join(want.Subjects, ",")), "its subjects are %v, must be %v", have.Subjects, want.Subjects)
	check(have.Mirror == nil, anew, "it is a mirror: nothing could be published to it")
	check(len(have.Sources) == 0, edit("--interactive, and remove its sources"), "it has sources, must have none: their messages are no jobs, or jobs once more")
	check(have.SubjectTransform == nil, edit("--no-transform"), "it has a subject_transform, must have none: a project's messages would become another's")
	check(have.RePublish == nil, edit("--no-republish"), "it is republished, must not be: who reads the copies reads every message, and copies may be stored as jobs again")
	// A stream with schedules always allows them; only workers publish there.
	check(later || !have.AllowRollup, edit("--no-allow-rollup"), "its allow_rollup_hdrs is true, must be false: one message with a Nats-Rollup header would remove all others")
	check(!have.NoAck, edit("--ack"), "its no_ack is true, must be false: publications would not be confirmed")
	check(have.MaxAge == 0, edit("--max-age=0s"), "its max_age is %v, must be 0: older messages would vanish, without a dead letter", have.MaxAge)
	check(have.Discard == want.Discard, edit("--discard="+strings.ToLower(strings.TrimPrefix(want.Discard.String(), "Discard"))), "its discard policy is %v, must be %v", have.Discard, want.Discard)
	check(have.Duplicates >= leastWindow, edit("--dupe-window="+short(want.Duplicates)), "its duplicate_window is %v, must be %v or more: what is published once more after it would be stored twice", have.Duplicates, leastWindow)
	// The server gives this limit to every consumer that names none, and so did it to ours.
	check(have.ConsumerLimits.InactiveThreshold == 0, edit("--interactive, and remove its consumer_limits"), "its consumer_limits have an inactive_threshold of %v, must have none: the consumer would be removed while no worker runs", have.ConsumerLimits.InactiveThreshold)
	check(!dead || have.MaxConsumers <= 0, anew, "its max_consumers is %d, must be none: letters are counted and read by consumers", have.MaxConsumers)
	switch {
	case later:
		check(have.MaxMsgs <= 0 && have.MaxMsgsPerSubject <= 0, edit("--max-msgs=-1 --max-msgs-per-subject=-1"),
			"it has limits of max_msgs or max_msgs_per_subject, must have none: the oldest waiting jobs would vanish")
		check(have.MaxBytes <= 0 || have.MaxBytes >= leastLaterBytes, edit(fmt.Sprintf("--max-bytes=%d", leastLaterBytes)),
			"its limits are too small: max_bytes is %d, must be none, or %d or more: the oldest waiting jobs would vanish", have.MaxBytes, leastLaterBytes)
	case dead:
		check(!have.DiscardNewPerSubject, edit("--no-discard-per-subject"), "its discard_new_per_subject is true, must be false: a job could not be buried again after a crash")
		check(have.MaxMsgsPerSubject == 1, edit("--max-msgs-per-subject=1"), "its max_msgs_per_subject is %d, must be 1: a job buried again would have two letters", have.MaxMsgsPerSubject)
	default:
		check(have.MaxMsgSize > 0 && have.MaxMsgSize <= want.MaxMsgSize, edit(fmt.Sprintf("--max-msg-size=%d", want.MaxMsgSize)),
			"its max_msg_size is %d, must be 1 to %d: the dead letter of a larger job would exceed the server's max_payload", have.MaxMsgSize, want.MaxMsgSize)
		check(have.MaxMsgsPerSubject <= 0 || have.DiscardNewPerSubject, edit("--discard-per-subject"),
			"it has max_msgs_per_subject without discard_new_per_subject: a project's older jobs would vanish")
	}
	check(want.MaxMsgSize > 0 || have.MaxMsgSize <= 0, edit("--max-msg-size=-1"), "its max_msg_size is %d, must be none: large jobs could not be settled", have.MaxMsgSize)

	if have.Duplicates >= leastWindow && have.Duplicates < want.Duplicates {
		faults = append(faults, Fault{FaultTight, want.Name, false,
			fmt.Sprintf("its duplicate_window is %v, better %v: what is published once more after it is stored twice", have.Duplicates, want.Duplicates),
			edit("--dupe-window=" + short(want.Duplicates))})
	}
	return faults
}

// allowOrAnew is the edit if something has to be turned on; the server does not turn it off.
func allowOrAnew(want jetstream.StreamConfig, edit string) string {
	if want.AllowMsgSchedules {
		return edit
	}
	return restore(want.Name)
}

// short is a duration without zero units, such as 10m.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
