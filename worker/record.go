package worker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// result is what one call came to.
type result struct {
	finished  []*task // every recipient has an outcome
	jobs      int
	delivered int
	err       *chatapi.Error // what the call ended with, nil when it was accepted
	unknown   int
	status    int
}

// maxUnreadable is how often a job is called for when the API answers 200 but cannot be
// understood. The recipients were told probably each time, so this also bounds the repeats.
const maxUnreadable = 3

// record takes down what the call of the last part came to. What is to go again stays in parts.
func (b *batch) record(now time.Time, cfg Config, report chatapi.Report, err error) result {
	p := b.parts[len(b.parts)-1]
	res := result{status: report.Status}
	b.count(p, &res)
	if err == nil {
		b.drop()
		b.accepted = true
		if p.first && len(b.parts) > 0 {
			b.parts[len(b.parts)-1].suspect = true
		}
		res.unknown = len(report.Unknown)
		b.deliver(p, report, &res)
		return res
	}
	res.err = apiError(err, cfg.MaxRetryAfter)
	res.status = res.err.Status
	detail := res.err.Error()
	for _, r := range p.recipients {
		r.task.lastErr = detail
	}
	if res.err.Kind == chatapi.Refused {
		b.refuse(now, p, res.err, &res)
		return res
	}
	told := res.err.Kind == chatapi.Unreadable && res.err.MayBeDelivered // probably
	if told {
		var seen *task
		for _, r := range p.recipients {
			if r.task != seen { // recipients of a task stand together
				r.task.unreadable++
				seen = r.task
			}
		}
	}
	b.giveUp(&res, func(t *task) queue.Reason {
		switch {
		case told && t.unreadable >= maxUnreadable, cfg.BuryAmbiguous && res.err.MayBeDelivered:
			return queue.Ambiguous
		case !now.Before(t.end(cfg.RetryFor)):
			return queue.Exhausted
		}
		return ""
	})
	return res
}

// count adds an attempt to each task in the part.
func (b *batch) count(p part, res *result) {
	var seen *task
	for _, r := range p.recipients {
		if r.task != seen { // recipients of a task stand together
			r.task.attempts++
			res.jobs++
			seen = r.task
		}
	}
}

func (b *batch) drop() { b.parts = b.parts[:len(b.parts)-1] }

// deliver gives every recipient of an accepted part its outcome.
func (b *batch) deliver(p part, report chatapi.Report, res *result) {
	var rejected map[string]string
	for _, f := range report.Failures {
		if rejected == nil {
			rejected = make(map[string]string, len(f.WovenIDs))
		}
		for _, id := range f.WovenIDs {
			rejected[id] = f.Reason
		}
	}
	for _, r := range p.recipients {
		if reason, bad := rejected[r.id]; bad {
			r.task.fail(r.id, queue.Rejected, shorten(reason), report.Status)
		} else {
			r.task.open--
			res.delivered++
		}
		if r.task.open == 0 {
			res.finished = append(res.finished, r.task)
		}
	}
}

// refuse halves a refused part until those at fault stand alone. When nothing of the batch was
// ever accepted and the refusals are alike, the message is at fault, and no more calls are spent.
func (b *batch) refuse(now time.Time, p part, err *chatapi.Error, res *result) {
	switch {
	case b.refusals == 0:
		b.refusal = err.Status
	case b.refusal != err.Status:
		b.refusal = -1
	}
	b.refusals++
	if len(p.recipients) == 1 {
		b.drop()
		b.alone++
		b.bury(p, queue.Refused, err.Error(), err.Status, res)
		for b.hopeless() && len(b.parts) > 0 {
			res.finished = append(res.finished, b.lapse(now)...)
			rest := b.parts[len(b.parts)-1]
			b.drop()
			b.bury(rest, queue.Refused, fmt.Sprintf("not called for: the message was refused for every one of %d others: %s", b.alone, err.Error()), err.Status, res)
		}
		return
	}
	b.halve()
}

// enoughAlone is how many recipients, taken at random, must be refused one by one before the
// message is held to be at fault. Were half of all recipients bad, chance would pick only such
// once in 4,000 times. A message that is refused for 500 costs about 30 calls.
const enoughAlone = 12

// hopeless tells whether the message itself is refused, whoever it is for: nothing was accepted,
// and the refusals are alike.
func (b *batch) hopeless() bool {
	return !b.accepted && b.refusal >= 0 && b.alone >= enoughAlone
}

// halve replaces the last part by its two halves. Of each two neighbours one goes into either, by
// a throw of a coin: were it by position, the halves would follow a pattern in the jobs, such as
// a bad recipient at the head of each, and those first called for would all be bad. Recipients of
// a task still stand together.
func (b *batch) halve() {
	p := b.parts[len(b.parts)-1]
	b.drop()
	n := len(p.recipients)
	// The same batch is halved in the same way, so that what happened can be done again.
	coin := rand.New(rand.NewPCG(uint64(b.size)<<32|uint64(n), uint64(b.refusals)))
	one, other := make([]recipient, 0, (n+1)/2), make([]recipient, 0, n/2)
	for i := 0; i+1 < n; i += 2 {
		heads := int(coin.Uint64() & 1)
		one = append(one, p.recipients[i+heads])
		other = append(other, p.recipients[i+1-heads])
	}
	if n%2 == 1 {
		one = append(one, p.recipients[n-1])
	}
	b.parts = append(b.parts, part{recipients: other}, part{recipients: one, first: true})
}

// giveUp gives the recipients in the last part for whose task there is a reason that outcome.
func (b *batch) giveUp(res *result, why func(*task) queue.Reason) {
	last := &b.parts[len(b.parts)-1]
	kept := last.recipients[:0]
	for _, r := range last.recipients {
		if reason := why(r.task); reason != "" {
			b.bury(part{recipients: []recipient{r}}, reason, res.err.Error(), res.err.Status, res)
		} else {
			kept = append(kept, r)
		}
	}
	last.recipients = kept
	if len(kept) == 0 {
		b.drop()
	}
}

func (b *batch) bury(p part, reason queue.Reason, detail string, status int, res *result) {
	for _, r := range p.recipients {
		r.task.fail(r.id, reason, shorten(detail), status)
		if r.task.open == 0 {
			res.finished = append(res.finished, r.task)
		}
	}
}

// shorten bounds what a letter says of one failure, so that many of them fit into one.
func shorten(detail string) string {
	const limit = 500
	if len(detail) <= limit {
		return detail
	}
	return string([]rune(detail[:limit])) // a rune that was cut shows as such
}

// apiError gives every failure the type that decisions need, and bounds the wait that it asks for.
func apiError(err error, longest time.Duration) *chatapi.Error {
	var api *chatapi.Error
	if errors.As(err, &api) {
		if api.RetryAfter > longest {
			shorter := *api
			shorter.RetryAfter = longest
			return &shorter
		}
		return api
	}
	return &chatapi.Error{Kind: chatapi.Temporary, Err: err, Detail: err.Error()}
}
