package lines

import (
	"context"
	"errors"

	"github.com/chatrelay/chatrelay/queue"
)

// Tally is what became of the lines of the input.
type Tally struct {
	// Published counts the jobs that are stored; Duplicates those of them that were there already.
	Published  int `json:"published"`
	Duplicates int `json:"duplicates"`
	// Parts are the messages that they became.
	Parts int `json:"parts"`
	// Failed counts the lines that were not published.
	Failed int `json:"failed"`
	// Unread: the rest of the input was not read.
	Unread bool `json:"stopped"`
}

// Publish publishes what r reads, until the end of the input, until ctx ends, or until a job fails by
// what every other would fail by, too. It calls reached with how many bytes of the input are done, and
// failed for every line that was not published, in the order of the lines. The error is that of the
// input, or of ctx.
func Publish(ctx context.Context, p *queue.Publisher, r *Reader, reached func(offset int64), failed func(Place, error)) (Tally, error) {
	var sum Tally
	fail := func(at Place, err error) {
		sum.Failed++
		failed(at, err)
	}
	err := p.PublishAll(ctx, r.Jobs, func(receipt queue.Receipt, err error) {
		at := r.Place()
		for _, bad := range r.BadBefore(at) {
			fail(bad.Place, bad.Err)
		}
		reached(at.Offset)
		switch {
		case err != nil && ctx.Err() != nil:
			return // interrupted; it may have been stored
		case err != nil:
			fail(at, err)
			if !concernsOneJob(err) {
				r.Stop() // the stream stays full, or NATS away: more of it would only fail too
			}
			return
		case receipt.Duplicate:
			sum.Duplicates++
		}
		sum.Published++
		sum.Parts += receipt.Parts
	})
	for _, bad := range r.BadBefore(End) {
		fail(bad.Place, bad.Err)
	}
	if err == nil {
		err = r.Err()
	}
	sum.Unread = r.Stopped() || err != nil
	return sum, err
}

// concernsOneJob reports whether the jobs behind one that failed may well be published.
func concernsOneJob(err error) bool {
	return errors.Is(err, queue.ErrInvalid) || errors.Is(err, queue.ErrTooLarge) || errors.Is(err, queue.ErrOtherPriority) || errors.Is(err, queue.ErrDenied)
}
