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

// tally is what became of the jobs of one run.
type tally struct {
	Published  int       `json:"published"`
	Duplicates int       `json:"duplicates"` // of them, were there already
	Parts      int       `json:"parts"`      // messages that they became
	Failed     int       `json:"failed"`
	Unread     bool      `json:"stopped"` // the rest of the input was not read
	Errors     []lineErr `json:"errors"`  // at most the first 100
}

type lineErr struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Error string `json:"error"`
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
	if err := q.Check(ctx); err != nil {
		return err
	}
	bar := term.BytesProgress(a.stderr, in.Size, "publishing")
	sum := tally{Errors: []lineErr{}}
	began := time.Now()

	reader := lines.NewReader(in, priority)
	fail := func(at lines.Place, err error) {
		bar.Clear()
		fmt.Fprintf(a.stderr, "%s:%d: %s\n", at.File, at.Number, withAdvice(err))
		sum.Failed++
		if len(sum.Errors) < 100 {
			sum.Errors = append(sum.Errors, lineErr{at.File, at.Number, withAdvice(err)})
		}
	}
	err = a.publisher(q, f).PublishAll(ctx, reader.Jobs, func(r queue.Receipt, err error) {
		at := reader.Place()
		for _, bad := range reader.BadBefore(at) {
			fail(bad.Place, bad.Err)
		}
		bar.Set(at.Offset)
		switch {
		case err != nil && ctx.Err() != nil:
			return // interrupted; it may have been stored
		case err != nil:
			fail(at, err)
			if !errors.Is(err, queue.ErrInvalid) && !errors.Is(err, queue.ErrTooLarge) {
				reader.Stop() // the stream stays full, or NATS away: more of it would only fail too
			}
			return
		case r.Duplicate:
			sum.Duplicates++
		}
		sum.Published++
		sum.Parts += r.Parts
	})
	for _, bad := range reader.BadBefore(lines.End) {
		fail(bad.Place, bad.Err)
	}
	bar.Finish()
	if err == nil {
		err = reader.Err()
	}
	sum.Unread = reader.Stopped() || err != nil
	return a.reportPublished(sum, time.Since(began), err)
}

func (a *app) reportPublished(sum tally, took time.Duration, err error) error {
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
	if sum.Unread {
		fmt.Fprintln(a.stderr, "stopped before the end of the input; run the same again to publish the rest: what is stored is not stored twice")
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case err != nil:
		return err
	case sum.Failed > 0:
		return errReported
	}
	return nil
}
