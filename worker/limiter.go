package worker

import (
	"context"
	"errors"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
)

// limiter adapts how many calls may be in flight to what the API's host bears: one more for every
// full round of successes, half as many after a sign of overload (additive increase, multiplicative
// decrease, as TCP has it). What only one project meets is that project's trouble, and closes its
// gate; it is the host's when no other project's call succeeded lately.
type limiter struct {
	ceiling int
	allowed float64
	cuts    int       // how often it was halved
	earlier int       // calls in flight that began before the last time, probes apart
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

// calls is how many calls may be in flight.
func (l *limiter) calls() int { return int(l.allowed) }

// learn records the result of a project's call, and how many others are in flight, probes apart. Of
// calls that were in flight together one sign counts: they all met the same moment. A probe that fails
// says nothing new, nor does a message that fails alone.
func (l *limiter) learn(now time.Time, project string, its permit, others int, err *chatapi.Error) {
	earlier := its.cuts < l.cuts
	if earlier && !its.probe {
		l.earlier--
	}
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
	case overload(err) && !its.probe && !its.own && !earlier && !l.othersWell(now, project):
		l.allowed, l.cuts, l.grown, l.earlier = max(1, l.allowed/2), l.cuts+1, now, others
	}
}

// othersWell reports whether a call of another project succeeded lately.
func (l *limiter) othersWell(now time.Time, project string) bool {
	other := l.well[0]
	if other.project == project {
		other = l.well[1]
	}
	return other.project != "" && now.Sub(other.at) < limiterMemory
}

// overload reports whether a failure is a sign that the API's host has too much to do. That of the token
// server says nothing about it.
func overload(err *chatapi.Error) bool {
	if err.Unsent {
		return false
	}
	return err.Kind == chatapi.Limited || err.Status == 503 || err.Status == 504 || errors.Is(err, context.DeadlineExceeded)
}
