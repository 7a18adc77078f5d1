package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// ErrInterrupted is returned by [Ops.Act] when ctx ended before all was done.
var ErrInterrupted = errors.New("interrupted")

// Result is what became of the letters of a plan. Those in none of the counts are as they were.
type Result struct {
	Done   int // replayed or dropped
	Gone   int // had been replayed, dropped or replaced by somebody else meanwhile
	Failed int // could not be replayed, each for a reason of its own, and are as they were
	// Failures are the first ten of those that failed, in the order of their numbers.
	Failures []LetterFailure
}

// LetterFailure says why one letter could not be acted on. Its JSON form is a contract with users.
type LetterFailure struct {
	Seq    uint64 `json:"seq"`
	Reason string `json:"error"`
}

const (
	// atOnce is how many letters are acted on at the same time: each costs round trips to the server.
	atOnce = 16
	// oneTimeout bounds what is done to one letter.
	oneTimeout = 20 * time.Second
	// maxFailures bounds Result.Failures: thousands usually fail for one reason.
	maxFailures = 10
)

// Act does what was planned, to the letters of the plan only. progress, unless nil, is called after
// each letter with how many there have been, by one goroutine at a time. A letter that cannot be replayed, or
// is too large, is counted in the result, and the others go on. Any other error concerns them all and ends it,
// as does ctx, with [ErrInterrupted]; a letter that was begun is finished all the same.
func (o *Ops) Act(ctx context.Context, p Plan, progress func(letters int)) (Result, error) {
	do, err := o.doing(p.Action)
	if err != nil {
		return Result{}, err
	}
	return each(ctx, p.Seqs, do, progress)
}

// each does something to each letter, several at a time.
func each(ctx context.Context, letters []uint64, do func(context.Context, uint64) error, progress func(letters int)) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sum Result
	var failures []LetterFailure
	var mu sync.Mutex // guards sum and failures, and the calls of progress
	one := func(seq uint64) {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), oneTimeout)
		err := do(ctx, seq)
		stop()
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			sum.Done++
		case errors.Is(err, queue.ErrNoLetter):
			sum.Gone++
		case errors.Is(err, queue.ErrNotReplayable), errors.Is(err, queue.ErrTooLarge):
			sum.Failed++
			failures = append(failures, LetterFailure{seq, err.Error()})
		default:
			cancel(err)
			return
		}
		if progress != nil {
			progress(sum.Done + sum.Gone + sum.Failed)
		}
	}
	seqs := make(chan uint64)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for seq := range seqs {
				one(seq)
			}
		})
	}
	for _, seq := range letters {
		if ctx.Err() != nil {
			break
		}
		seqs <- seq
	}
	close(seqs)
	workers.Wait()
	slices.SortFunc(failures, func(a, b LetterFailure) int { return cmp.Compare(a.Seq, b.Seq) })
	sum.Failures = failures[:min(len(failures), maxFailures)]
	switch err := context.Cause(ctx); {
	case sum.Done+sum.Gone+sum.Failed == len(letters):
		return sum, nil
	case errors.Is(err, context.Canceled):
		return sum, ErrInterrupted
	default:
		return sum, err
	}
}

func (o *Ops) doing(act Action) (func(context.Context, uint64) error, error) {
	switch act {
	case Replay:
		return o.q.Replay, nil
	case Drop:
		return o.q.Drop, nil
	}
	return nil, fmt.Errorf("there is no action %q", act)
}
