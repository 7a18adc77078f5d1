package worker

import (
	"context"
	"errors"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// rate spaces calls out, so that neither calls nor recipients exceed so many a second. What a call
// takes more than its share is made up for by the wait after it. The zero value does not limit.
type rate struct {
	perCall, perRecipient time.Duration
	free                  time.Time // when the next call may go
}

// newRate limits to calls and recipients a second; zero: no limit.
func newRate(calls, recipients float64) rate {
	var r rate
	if calls > 0 {
		r.perCall = time.Duration(float64(time.Second) / calls)
	}
	if recipients > 0 {
		r.perRecipient = time.Duration(float64(time.Second) / recipients)
	}
	return r
}

func (r *rate) limited() bool { return r.perCall > 0 || r.perRecipient > 0 }

// spend counts a call.
func (r *rate) spend(now time.Time, recipients int) {
	if r.limited() {
		r.free = later(r.free, now).Add(max(r.perCall, time.Duration(recipients)*r.perRecipient))
	}
}

// reserve is how many of the last free slots are kept for projects with less than their share of
// calls under way, so that calls that hang never take all: one in 32, which costs the others little.
func reserve(concurrency int) int {
	if concurrency < 8 {
		return 0
	}
	return max(1, concurrency/32)
}

// limiter adapts how many calls may be under way to what the API's host bears: one more for every
// full round of successes, half as many after a sign of overload (additive increase, multiplicative
// decrease, as TCP has it). What only one project meets is that project's trouble, and closes its
// gate; it is the host's when no other project's call succeeded lately.
type limiter struct {
	ceiling int
	allowed float64
	cut     time.Time // when it was last halved
	grown   time.Time // when it last grew
	// The last two projects for which a call succeeded, and when; the latest first.
	well [2]struct {
		project string
		at      time.Time
	}
}

const (
	// limiterMemory is how long a success of another project speaks for the host.
	limiterMemory = 10 * time.Second
	// limiterRecovery is how long a worker with few calls takes from nothing to the ceiling.
	limiterRecovery = time.Minute
)

func newLimiter(ceiling int) limiter { return limiter{ceiling: ceiling, allowed: float64(ceiling)} }

// calls is how many calls may be under way.
func (l *limiter) calls() int { return int(l.allowed) }

// learn takes down what a call that began at some time came to. Of calls that were under way
// together one sign counts: they all met the same moment. A probe that fails says nothing new.
func (l *limiter) learn(now, began time.Time, project string, probe bool, err *chatapi.Error) {
	switch {
	case err == nil:
		if l.well[0].project != project {
			l.well[1] = l.well[0]
			l.well[0].project = project
		}
		l.well[0].at = now
		more := max(1/l.allowed, float64(l.ceiling)*float64(now.Sub(l.grown))/float64(limiterRecovery))
		if l.grown.IsZero() {
			more = 1 / l.allowed
		}
		l.allowed, l.grown = min(float64(l.ceiling), l.allowed+more), now
	case overload(err) && !probe && !began.Before(l.cut) && !l.othersWell(now, project):
		l.allowed, l.cut, l.grown = max(1, l.allowed/2), now, now
	}
}

// othersWell tells whether a call of another project succeeded lately.
func (l *limiter) othersWell(now time.Time, project string) bool {
	other := l.well[0]
	if other.project == project {
		other = l.well[1]
	}
	return other.project != "" && now.Sub(other.at) < limiterMemory
}

// overload tells whether a failure is a sign that the host has too much to do.
func overload(err *chatapi.Error) bool {
	return err.Kind == chatapi.Limited || err.Status == 503 || err.Status == 504 || errors.Is(err, context.DeadlineExceeded)
}
