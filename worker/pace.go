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

// limiter adapts how many calls may be under way to what the API's host bears: one more for every
// full round of successes, half as many after a sign of overload (additive increase, multiplicative
// decrease, as TCP has it).
type limiter struct {
	ceiling int
	allowed float64
	cut     time.Time // when it was last halved
}

func newLimiter(ceiling int) limiter { return limiter{ceiling: ceiling, allowed: float64(ceiling)} }

// calls is how many calls may be under way.
func (l *limiter) calls() int { return int(l.allowed) }

// learn takes down what a call that began at some time came to. Of calls that were under way
// together one sign counts: they all met the same moment.
func (l *limiter) learn(now, began time.Time, err *chatapi.Error) {
	switch {
	case err == nil:
		l.allowed = min(float64(l.ceiling), l.allowed+1/l.allowed)
	case overload(err) && !began.Before(l.cut):
		l.allowed, l.cut = max(1, l.allowed/2), now
	}
}

// overload tells whether a failure is a sign that the host has too much to do.
func overload(err *chatapi.Error) bool {
	return err.Kind == chatapi.Limited || err.Status == 503 || err.Status == 504 || errors.Is(err, context.DeadlineExceeded)
}
