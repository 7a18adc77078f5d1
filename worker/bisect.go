package worker

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// refuse halves the last part, which was refused, until those at fault stand alone. When nothing of
// the batch was ever accepted and the refusals are alike, the message is at fault, and no more calls
// are spent.
func (b *batch) refuse(now time.Time, res *result) {
	b.countRefusal(res.err)
	if n := b.cost(); n > 1 {
		if b.past.leastRefused == 0 || n < b.past.leastRefused {
			b.past.leastRefused = n
		}
		b.halve()
		return
	}
	b.past.refusedAlone++
	b.buryNext(res.err.Error(), res)
	for b.hopeless() && len(b.parts) > 0 {
		res.ended = append(res.ended, b.next().dropLapsed(now)...)
		b.buryNext(fmt.Sprintf("not called for: the message was refused for every one of %d others: %s", b.past.refusedAlone, res.err.Error()), res)
	}
}

// countRefusal remembers whether refusals are alike.
func (b *batch) countRefusal(err *chatapi.Error) {
	past := b.note()
	switch {
	case past.refusals == 0:
		past.refusalStatus = err.Status
	case past.refusalStatus != err.Status:
		past.refusalStatus = -1
	}
	past.refusals++
}

// buryNext gives up the recipients of the last part.
func (b *batch) buryNext(detail string, res *result) {
	for _, r := range b.next().recipients {
		if r.task.fail(r.id, queue.Refused, detail, res.err.Status) {
			res.ended = append(res.ended, r.task)
		}
	}
	b.drop()
}

// enoughAlone is how many recipients, taken at random, must be refused one by one before the
// message is held to be at fault. Were half of all recipients bad, chance would pick only such
// once in 4,000 times. A message that is refused for 500 costs about 30 calls.
const enoughAlone = 12

// hopeless reports whether the message itself is refused, whoever it is for: nothing was accepted,
// and the refusals are alike.
func (b *batch) hopeless() bool {
	return !b.past.accepted && b.past.refusalStatus >= 0 && b.past.refusedAlone >= enoughAlone
}

// halve replaces the last part by its two halves. Of each two neighbours one goes into either, by
// a throw of a coin: were it by position, the halves would follow a pattern in the jobs, such as
// a bad recipient at the head of each, and those first called for would all be bad. Recipients of
// a task still stand together.
func (b *batch) halve() {
	p := *b.next()
	b.drop()
	n := len(p.recipients)
	// The same batch is halved in the same way, so that what happened can be done again.
	coin := rand.New(rand.NewPCG(uint64(b.size)<<32|uint64(n), uint64(b.seen().refusals))) //nolint:gosec // not a secret: which half a recipient is in
	one, other := make([]recipient, 0, (n+1)/2), make([]recipient, 0, n/2)
	for i := 0; i+1 < n; i += 2 {
		heads := int(coin.Uint64() & 1)
		one = append(one, p.recipients[i+heads])
		other = append(other, p.recipients[i+1-heads])
	}
	if n%2 == 1 {
		one = append(one, p.recipients[n-1])
	}
	b.parts = append(b.parts, part{recipients: other, trouble: p.inherit()}, part{recipients: one, first: true, trouble: p.inherit()})
}

// cut takes so many recipients of the last part for the next call; the others are the part beneath.
func (b *batch) cut(size int) {
	p := *b.next()
	p.suspect, p.first = false, false // of what is refused for its size, both halves may be
	rest := p
	if p.trouble != nil {
		same := *p.trouble
		rest.trouble = &same
	}
	p.recipients, rest.recipients = p.recipients[:size:size], p.recipients[size:]
	b.parts[len(b.parts)-1] = rest
	b.parts = append(b.parts, p)
}
