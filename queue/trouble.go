package queue

import (
	"errors"
	"fmt"
	"time"
)

// errAnew is reported when a stream or consumer was removed or made anew while jobs were held.
type errAnew struct {
	stream string
	held   int
	gone   bool
}

func (e errAnew) Error() string {
	if e.gone {
		return fmt.Sprintf("the stream %s was removed or made anew; %d jobs that are held here are delivered all the same", e.stream, e.held)
	}
	return fmt.Sprintf("the consumer %s of %s was removed or made anew; of %d jobs that are held here, those in flight may be delivered twice", ConsumerName, e.stream, e.held)
}

// errBehind is reported when a consumer has not come as far as jobs that are held.
type errBehind struct {
	stream string
	held   int
}

func (e errBehind) Error() string {
	return fmt.Sprintf("the consumer %s of %s went back, as after a crash or the restoration of a backup; of %d jobs that are held here and of which it does not know, those in flight may be delivered twice", ConsumerName, e.stream, e.held)
}

// troubled takes down why nothing can be taken in from a source.
func (j *Jobs) troubled(s *source, err error) {
	j.mu.Lock()
	detail := oneLine(err.Error(), maxWords)
	fresh := s.trouble == nil || s.trouble.Detail != detail
	if s.trouble == nil {
		s.trouble = &Condition{What: "take in jobs from " + s.stream, Since: j.q.Now()}
	}
	s.trouble.Detail = detail
	j.mu.Unlock()
	if fresh {
		j.cfg.OnError(fmt.Errorf("take in jobs from %s: %w", s.stream, err))
	}
}

// well takes down that the server serves the source's pulls. Called with Jobs.mu held.
func (j *Jobs) well(s *source) { s.trouble = nil }

// unackedNews is for how long no ack is confirmed before it is said: a restart of the server takes less.
const unackedNews = 10 * time.Second

// confirmed takes down whether acks were confirmed, or why not.
func (j *Jobs) confirmed(s *source, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err == nil:
		s.unacked = nil
	case s.unacked == nil:
		s.unacked = &Condition{What: "confirm what is settled of " + s.stream, Since: j.q.Now()}
		fallthrough
	default:
		s.unacked.Detail = oneLine(err.Error(), maxWords)
	}
}

// Conditions are what keeps jobs from being taken in at this moment, by stream, from being acked, and from firing at
// their time.
func (j *Jobs) Conditions() []Condition {
	all := j.notTakenIn()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.sources {
		if s.unacked != nil && len(s.held) > 0 && j.q.Now().Sub(s.unacked.Since) > unackedNews {
			all = append(all, *s.unacked)
		}
	}
	if j.unfired != nil {
		all = append(all, *j.unfired)
	}
	return all
}

func (j *Jobs) notTakenIn() (all []Condition) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.sources {
		if s.trouble != nil {
			all = append(all, *s.trouble)
		}
	}
	return all
}

// Ready returns an error that says from which streams no jobs can be taken in, and why; nil if there is none.
func (j *Jobs) Ready() error {
	var errs []error
	for _, c := range j.notTakenIn() {
		errs = append(errs, fmt.Errorf("cannot %s since %s: %s", c.What, c.Since.UTC().Format(time.RFC3339), c.Detail))
	}
	return errors.Join(errs...)
}
