package queue

import "time"

// Now is the time by the clock of NATS as far as it is known. All workers go by it, however their own clocks
// are set, so that what one of them defers comes due for the others at the same moment.
func (q *Queue) Now() time.Time { return time.Now() }
