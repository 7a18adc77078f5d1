package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// EventKind says what an [Event] is about.
type EventKind string

// The kinds of events.
const (
	EventCall     EventKind = "call"     // one call to the API came back
	EventSettled  EventKind = "settled"  // jobs were acked; Letters are durable
	EventDeferred EventKind = "deferred" // jobs will come back later
	EventSplit    EventKind = "split"    // Recipients of a large job became a job of their own
	EventUnburied EventKind = "unburied" // Letters could not be stored, because of Err; it is tried again
	// EventPostponed: jobs whose letters could not be stored come back later, as these letters.
	EventPostponed EventKind = "postponed"
	EventReleased  EventKind = "released" // jobs were given back unstarted
	EventGate      EventKind = "gate"     // a project's gate closed for Wait, or, Wait 0, works again
	EventCallSize  EventKind = "callsize" // the API takes so many Recipients in a call of the project; 0: it takes more again
	EventTrouble   EventKind = "trouble"  // settling, deferring or splitting failed and is repeated
)

// Event is one thing that happened, for logs, metrics and a live view.
type Event struct {
	Kind EventKind
	// ProjectID and Priority are empty where several are concerned.
	ProjectID string
	Priority  queue.Priority

	Jobs       int // jobs concerned; for a call, those with a recipient in it
	Recipients int // for a call, those in it; for a settlement, all of its jobs'
	Delivered  int // recipients that the call delivered to
	// Letters are what a settlement buried, or could not bury. They hold message text and recipients: not for logs.
	Letters []queue.DeadLetter
	// Narrow says of a gate that only one message of the project is known to fail: it waits, and the
	// others go on.
	Narrow bool
	// Shared says of a gate that all projects with the same credential are held back with it.
	Shared bool
	// From is the worker by whose word a gate closed. Empty: it closed or opened by a call of this one.
	From string
	// Failed is how many calls failed since the gate was last open, this one included.
	Failed int
	// Doubt says why the answer to a call was understood in part only; it names nobody.
	Doubt string
	// Unknown counts ids that the API named as failed although the call had not asked for them.
	Unknown int

	Status   int           // HTTP status of the call; 0 without an answer
	Duration time.Duration // of the call, or of the settlement
	Wait     time.Duration // until the next attempt
	// Again says that the gate had closed for the same kind of failure before, or that a size of calls
	// was known before.
	Again bool
	// Allowed is how many calls may be in flight at once after this event of a gate.
	Allowed int
	// Ambiguous says that the call failed and may have been delivered all the same.
	Ambiguous bool
	Err       error
}
