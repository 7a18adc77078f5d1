package worker

import "time"

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

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
