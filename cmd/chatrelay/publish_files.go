package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/lines"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// published is what became of the jobs of one run.
type published struct {
	lines.Tally
	Errors []lineErr `json:"errors"` // at most the first 100
}

type lineErr struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Error string `json:"error"`
	// Uncertain: the job may have been stored all the same.
	Uncertain bool `json:"uncertain"`
}

func (a *app) publishFiles(ctx context.Context, f publishFlags, priority queue.Priority, files []string) error {
	in, err := lines.Open(files, a.stdin)
	if err != nil {
		return usageError{err}
	}
	defer in.Close()
	q, err := f.nats.connect(ctx, "publish")
	if err != nil {
		return err
	}
	defer q.Close()
	bar := term.BytesProgress(a.stderr, in.Size, "publishing")
	sum := published{Errors: []lineErr{}}
	began := time.Now()
	sum.Tally, err = lines.Publish(ctx, a.publisher(q, f), lines.NewReader(in, priority), bar.Set, func(at lines.Place, err error) {
		bar.Clear()
		fmt.Fprintf(a.stderr, "%s:%d: %s\n", term.Plain(at.File), at.Number, term.Plain(withAdvice(err)))
		if len(sum.Errors) < 100 {
			sum.Errors = append(sum.Errors, lineErr{at.File, at.Number, withAdvice(err), errors.Is(err, queue.ErrUncertain)})
		}
	})
	bar.Finish()
	return a.reportPublished(sum, time.Since(began), err)
}

func (a *app) reportPublished(sum published, took time.Duration, err error) error {
	_, foreign := errors.AsType[*lines.FormatError](err)
	if foreign && sum.Published+sum.Failed == 0 {
		return usageError{err} // as for a file, of which it is known before anything is read
	}
	interrupted := errors.Is(err, context.Canceled)
	if a.output == "json" {
		if err := term.PrintJSON(a.stdout, sum); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.stdout, "published %s in %v", term.Counted(sum.Published, "job"), took.Round(time.Millisecond))
		if sum.Parts > sum.Published {
			fmt.Fprintf(a.stdout, ", as %d parts", sum.Parts)
		}
		if sum.Duplicates > 0 {
			fmt.Fprintf(a.stdout, ", %d of them were there already", sum.Duplicates)
		}
		fmt.Fprintln(a.stdout)
	}
	if sum.Failed > 0 {
		fmt.Fprintf(a.stderr, "%s not published, see above\n", term.Counted(sum.Failed, "job"))
	}
	switch {
	case sum.Unread && err != nil && !interrupted:
		fmt.Fprintln(a.stderr, "stopped before the end of the input; when that is mended, publish all of it again: "+recognized(took))
	case sum.Unread:
		fmt.Fprintln(a.stderr, "stopped before the end of the input; run the same again to publish the rest: "+recognized(took))
	}
	switch {
	case interrupted:
		return errors.New("interrupted")
	case foreign:
		return usageError{err}
	case err != nil:
		return err
	case sum.Failed > 0:
		return errReported
	}
	return nil
}

// recognized says what is not stored twice if the input of a run, which took so long, is published again: NATS forgets
// the ids after ten minutes, and while a stream is full a run may take hours.
func recognized(took time.Duration) string {
	if took < 9*time.Minute {
		return "what is stored is not stored twice"
	}
	return "what was stored within the last ten minutes is not stored twice; leave out the lines before, which would be"
}
