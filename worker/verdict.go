package worker

import (
	"fmt"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// cause says what keeps a call from beginning.
type cause string

const (
	granted         cause = ""
	acksUnconfirmed cause = "acks not confirmed"
	noSlot          cause = "no slot"
	limited         cause = "limiter"
	rateOfAll       cause = "rate of all projects"
	gateClosed      cause = "gate closed"
	probing         cause = "probe in flight"
	sharedClosed    cause = "gate of the credential closed"
	sharedProbing   cause = "credential being probed"
	slowStarting    cause = "slow start"
	rateOfProject   cause = "rate of the project"
	reserved        cause = "reserve"
)

// verdict is the answer of permits. The zero value grants the call.
type verdict struct {
	cause cause
	until time.Time      // when to ask again; zero: when something else has happened
	err   *chatapi.Error // why the gate is closed
}

func (v verdict) granted() bool { return v.cause == granted }

// blocked reports whether it is a gate that keeps the call from beginning.
func (v verdict) blocked() bool {
	return v.cause == gateClosed || v.cause == probing || v.cause == sharedClosed || v.cause == sharedProbing
}

// mayWait reports whether the flow keeps its place in the round of turns.
func (v verdict) mayWait() bool {
	return v.cause == granted || v.cause == reserved || v.cause == limited
}

// String says it for people; times are given from a moment on.
func (v verdict) String() string { return v.since(time.Time{}) }

func (v verdict) since(now time.Time) string {
	text := string(v.cause)
	switch {
	case v.granted():
		return "granted"
	case v.until.IsZero():
	case now.IsZero():
		text += " until " + v.until.UTC().Format("15:04:05.000")
	default:
		text += fmt.Sprintf(" for %v", v.until.Sub(now).Round(time.Millisecond))
	}
	if v.err != nil {
		text += fmt.Sprintf(" because of %s %d", v.err.Kind, v.err.Status)
	}
	return text
}
