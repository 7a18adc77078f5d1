package worker

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// trouble is what the recipients of one call met since their leases began: what is theirs alone, and
// holds up nobody else.
type trouble struct {
	suspected int       // calls that failed in a row, of which the first while others of the project succeeded
	counted   bool      // among the recipients for whom alone the call fails
	ambiguous int       // calls that failed and may have been delivered
	notBefore time.Time // when the next one may go
}

// met is what the part met, to be read.
func (p *part) met() trouble {
	if p.trouble == nil {
		return trouble{}
	}
	return *p.trouble
}

// meet is what the part met, to be written.
func (p *part) meet() *trouble {
	if p.trouble == nil {
		p.trouble = new(trouble)
	}
	return p.trouble
}

// inherit is what a piece of the part starts with. That the part failed while others succeeded does not
// say which piece of it does.
func (p *part) inherit() *trouble {
	if p.trouble == nil {
		return nil
	}
	return &trouble{ambiguous: p.trouble.ambiguous, notBefore: p.trouble.notBefore}
}

// How long what failed waits. A failure that is its own is tried again with growing waits, up to
// aloneMax. One that may have been delivered is tried soon once more, as it may have been a blip, and
// then ever more seldom: the few tries that it has left span about ten minutes.
const (
	aloneGrowth     = 1.5
	aloneMax        = 15 * time.Minute
	ambiguousFirst  = time.Second
	ambiguousGrowth = 8
	pausedGrowth    = 2 // of what the API demands, for a message whose calls alone meet that
	// suspectedEnough is how often a recipient, or a message whoever it is for, fails alone before it is
	// given up, where the API or a gateway before it objects to the call.
	suspectedEnough = 5
	// suspicion is for how long a success shows that the project's calls succeed.
	suspicion = time.Minute
)

// wait is how long the next try waits at least.
func (p *part) wait(own bool, err *chatapi.Error) (wait time.Duration) {
	if own {
		wait = growing(gateFirst, aloneGrowth, p.met().suspected)
		// A pause that only this message meets stops its whole project each time: it asks for it ever more seldom.
		wait = max(wait, growing(demanded(err), pausedGrowth, p.met().suspected))
	}
	if err.MayBeDelivered {
		most := 0
		for _, r := range p.recipients {
			most = max(most, r.task.tries[r.id])
		}
		wait = max(wait, growing(ambiguousFirst, ambiguousGrowth, most+p.met().ambiguous))
	}
	return wait
}

// growing is a wait that grows with the number of failures, from the first on.
func growing(first time.Duration, growth float64, failures int) time.Duration {
	wait := float64(first) * math.Pow(growth, float64(max(0, failures-1)))
	return time.Duration(min(wait, float64(aloneMax)))
}

// judge says whose trouble it would be if the next call failed: maybe its own, when it failed before and
// no other message is known to fail; surely, when calls of its project succeeded after that. What failed
// alone once says nothing of its project from then on. When other messages fail as well, it may still be
// that all their calls are too large: so those that probe the gate become smaller.
func (b *batch) judge(now time.Time, of *project) {
	troubled, suspected := b.seen().troubled, b.next().met().suspected > 0
	failed := !troubled.IsZero() || suspected
	b.maybeAlone = failed && !of.gate.wide && !of.gate.hopeless
	b.alone = b.maybeAlone && of.succeeded.After(later(troubled, now.Add(-suspicion)))
	b.permit.own = b.alone || suspected
	b.probesSize = failed && of.gate.wide
}

// callFailed records that the call of the last part failed. It goes again, as a whole or in halves, but
// for those who have no further try. Fewer recipients may take less time, or not have the one among them
// to whom a gateway objects.
func (b *batch) callFailed(now time.Time, cfg Config, res *result) {
	last, err := b.next(), res.err
	met, past := last.meet(), b.note()
	b.permit.again = !past.troubled.IsZero() || last.recipients[0].task.lease.Attempts > 1
	if past.troubled.IsZero() {
		past.troubled = now
	}
	if b.permit.own {
		met.suspected++
	}
	if err.MayBeDelivered {
		met.ambiguous++
	}
	if b.permit.own || err.MayBeDelivered {
		for _, t := range last.tasks() {
			t.marked = true
		}
	}
	single := b.cost() == 1
	objection := b.maybeAlone && err.MayConcernMessage()
	b.giveUp(res, func(t *task, id string) (queue.Reason, string) {
		switch {
		case err.MayBeDelivered && t.tries[id]+met.ambiguous >= cfg.MaxAmbiguous:
			return queue.Ambiguous, err.Error()
		case objection && b.alone && (past.whole || single) && met.suspected >= suspectedEnough:
			return queue.Refused, fmt.Sprintf("failed %d times, while other calls of the project succeeded: %s", met.suspected, err.Error())
		case !now.Before(t.end(cfg.RetryFor)):
			return queue.Exhausted, err.Error()
		}
		return "", ""
	})
	res.resting = 1
	switch {
	case len(last.recipients) == 0:
		res.resting = 0
	case past.whole:
	case len(last.recipients) == 1:
		if objection && !met.counted {
			met.counted = true
			past.refusedAlone++
			if b.countRefusal(err); b.hopeless() {
				b.regroup()
			}
		}
	case err.TimedOut(), b.probesSize && err.MayConcernMessage():
		res.resting = b.divide(1)
	case b.alone && err.MayBeDelivered:
		res.resting = b.divide(2) // it has few tries left
	case objection && err.MayBeDelivered:
		res.resting = b.divide(1) // each try waits: with others at once all would be spent in a moment
	case objection:
		b.countRefusal(err)
		b.halve()
		res.resting = 0
	}
}

// divide halves the last part so many times, each piece of it, and returns how many pieces there are.
// Any of them may fail again.
func (b *batch) divide(times int) (pieces int) {
	from := len(b.parts) - 1
	for range times {
		for i := len(b.parts) - 1; i >= from; i-- {
			if len(b.parts[i].recipients) > 1 {
				b.parts[i], b.parts[len(b.parts)-1] = b.parts[len(b.parts)-1], b.parts[i]
				b.halve()
			}
		}
	}
	return len(b.parts) - from
}

// rest lets the last parts wait, whose call failed, for some time at least, and those go first that may.
func (b *batch) rest(now time.Time, parts int, wait time.Duration, err *chatapi.Error) {
	if parts == 0 {
		return
	}
	for i := range b.parts {
		p := &b.parts[i]
		p.first = false // what is beneath it may change
		if i >= len(b.parts)-parts {
			p.meet().notBefore = now.Add(max(wait, p.wait(b.permit.own, err)))
		}
	}
	if !b.maybeAlone { // then the others wait as well for the message to be tried again
		for i := range b.parts {
			met := b.parts[i].meet()
			met.notBefore = later(met.notBefore, now.Add(wait))
		}
	}
	slices.SortStableFunc(b.parts, func(p, q part) int { return q.met().notBefore.Compare(p.met().notBefore) })
}

// regroup puts all parts together again: it is the message that fails, whoever it is for.
func (b *batch) regroup() {
	all := part{trouble: new(trouble)}
	var order []*task
	of := map[*task][]recipient{} // in one part, recipients of a task stand together
	for _, p := range b.parts {
		met := p.met()
		all.trouble.suspected = max(all.trouble.suspected, met.suspected)
		for _, r := range p.recipients {
			if of[r.task] == nil {
				order = append(order, r.task)
			}
			r.task.countTries(r.id, met.ambiguous)
			of[r.task] = append(of[r.task], r)
		}
	}
	for _, t := range order {
		all.recipients = append(all.recipients, of[t]...)
	}
	b.parts, b.past.whole = []part{all}, true
}
