package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// action is what can be done to many dead letters.
type action struct {
	verb, done, short, long, example string
	do                               func(*queue.Queue, context.Context, uint64) error
	invalid                          bool // whether it can be done to invalid payloads
}

var (
	replaying = action{
		verb: "replay", done: "replayed", short: "Publish the recipients of dead letters as jobs once more",
		long: `Publishes the recipients of dead letters as jobs once more, each to the priority that it came from,
and then deletes the letters. Interrupted, it loses nothing, and run again within ten minutes it
repeats nothing. Payloads that were invalid stay: they would only be refused again.`,
		example: `  chatrelay dead replay --project 0f8fad5b-d9cb-469f-a165-70867728950e --reason exhausted
  chatrelay dead replay --all-projects --since 2h --yes`,
		do: (*queue.Queue).Replay,
	}
	dropping = action{
		verb: "drop", done: "dropped", short: "Delete dead letters for good",
		long: `Deletes dead letters for good: their recipients will not be told.`,
		example: `  chatrelay dead drop --project 0f8fad5b-d9cb-469f-a165-70867728950e --reason expired
  chatrelay dead drop --all-projects --reason invalid --yes`,
		do: (*queue.Queue).Drop, invalid: true,
	}
)

func (a *app) deadActCommand(act action) *cobra.Command {
	var f deadFlags
	cmd := &cobra.Command{
		Use: act.verb, Short: act.short, Example: act.example,
		Long: act.long + `

It shows what it is about to do and asks, or needs --yes where there is no terminal. It acts on
exactly the letters that it has shown, not on those that come meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := f.filter()
			if err != nil {
				return err
			}
			if (f.project == "") == !f.allProjects {
				return usagef("say whose letters to %s: either --project ID or --all-projects", act.verb)
			}
			q, err := f.nats.connect(cmd.Context(), "dead "+act.verb)
			if err != nil {
				return err
			}
			defer q.Close()
			return a.act(cmd.Context(), q, act, filter, f.confirmed)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.allProjects, "all-projects", false, "the letters of all projects")
	cmd.Flags().BoolVarP(&f.confirmed, "yes", "y", false, "do it without asking")
	return cmd
}

// group is what a plan says of one project and reason.
type group struct {
	Project    string       `json:"project_id"`
	Reason     queue.Reason `json:"reason"`
	Letters    int          `json:"letters"`
	Recipients int          `json:"recipients"`
}

// plan is exactly the letters to act on.
type plan struct {
	seqs       []uint64
	groups     []group
	recipients int
	left       int // invalid ones, which cannot be replayed
}

func (a *app) act(ctx context.Context, q *queue.Queue, act action, filter queue.Filter, confirmed bool) error {
	p, err := makePlan(ctx, q, act, filter)
	if err != nil {
		return err
	}
	if a.output == "text" {
		a.printPlan(act, p)
	}
	if len(p.seqs) > 0 && !confirmed {
		if err := a.confirm(ctx, act, len(p.seqs)); err != nil {
			return err
		}
	}
	done, gone, err := a.actAll(ctx, q, act, p)
	if a.output == "json" {
		if err := term.PrintJSON(a.stdout, map[string]any{act.done: done, "gone": gone, "matched": len(p.seqs), "left_invalid": p.left, "groups": p.groups}); err != nil {
			return err
		}
	} else if len(p.seqs) > 0 {
		fmt.Fprintf(a.stdout, "%s %s\n", act.done, term.Counted(done, "dead letter"))
		if gone > 0 {
			fmt.Fprintf(a.stdout, "%d had been replayed, dropped or replaced meanwhile\n", gone)
		}
	}
	if err != nil {
		return fmt.Errorf("%s after %d of %d: %w; the others are as they were, run it again to go on", act.verb, done, len(p.seqs), err)
	}
	return nil
}

func makePlan(ctx context.Context, q *queue.Queue, act action, filter queue.Filter) (plan, error) {
	p := plan{groups: []group{}}
	groups := map[group]*group{}
	err := q.DeadLetters(ctx, filter, func(l queue.DeadLetter) bool {
		if l.Reason == queue.Invalid && !act.invalid {
			p.left++
			return true
		}
		p.seqs = append(p.seqs, l.Seq)
		k := group{Project: l.ProjectID, Reason: l.Reason}
		if groups[k] == nil {
			groups[k] = &group{Project: l.ProjectID, Reason: l.Reason}
		}
		groups[k].Letters++
		groups[k].Recipients += len(l.WovenIDs)
		p.recipients += len(l.WovenIDs)
		return true
	})
	for _, g := range groups {
		p.groups = append(p.groups, *g)
	}
	slices.SortFunc(p.groups, func(a, b group) int {
		return cmp.Or(strings.Compare(a.Project, b.Project), strings.Compare(string(a.Reason), string(b.Reason)))
	})
	return p, err
}

func (a *app) printPlan(act action, p plan) {
	if len(p.seqs) == 0 {
		fmt.Fprintf(a.stdout, "no dead letters to %s\n", act.verb)
	} else {
		fmt.Fprintf(a.stdout, "about to %s %s with %s, up to number %d:\n", act.verb,
			term.Counted(len(p.seqs), "dead letter"), term.Counted(p.recipients, "recipient"), slices.Max(p.seqs))
		for _, g := range p.groups {
			fmt.Fprintf(a.stdout, "  %-36s %-9s %s, %s\n", term.Plain(g.Project), term.Plain(string(g.Reason)), term.Counted(g.Letters, "letter"), term.Counted(g.Recipients, "recipient"))
		}
	}
	if p.left > 0 {
		fmt.Fprintf(a.stdout, "%s with invalid payloads cannot be replayed and will stay\n", term.Counted(p.left, "letter"))
	}
}

// confirm asks on a terminal; elsewhere --yes is needed.
func (a *app) confirm(ctx context.Context, act action, n int) error {
	if !term.IsTerminal(a.stdin) {
		return usagef("there is no terminal to ask on: add --yes to %s %s", act.verb, term.Counted(n, "dead letter"))
	}
	fmt.Fprintf(a.stderr, "%s them? [y/N] ", strings.ToUpper(act.verb[:1])+act.verb[1:])
	answer := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(a.stdin).ReadString('\n') // an ended input is a no
		answer <- strings.ToLower(strings.TrimSpace(text))
	}()
	select {
	case text := <-answer:
		if text == "y" || text == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
	}
	return errors.New("nothing was done")
}

// actAll acts on the letters, several at a time: each costs round trips to the server.
func (a *app) actAll(ctx context.Context, q *queue.Queue, act action, p plan) (done, gone int, err error) {
	const atOnce = 16
	bar := term.CountProgress(a.stderr, int64(len(p.seqs)), act.verb)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	seqs := make(chan uint64)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for seq := range seqs {
				// One that was begun is finished even if the run is interrupted.
				one, stop := context.WithTimeout(context.WithoutCancel(ctx), quick)
				err := act.do(q, one, seq)
				stop()
				mu.Lock()
				switch {
				case err == nil:
					done++
				case errors.Is(err, queue.ErrNoLetter):
					gone++
				default:
					cancel(err)
				}
				bar.Add(1)
				mu.Unlock()
			}
		})
	}
	for _, seq := range p.seqs {
		if ctx.Err() != nil {
			break
		}
		seqs <- seq
	}
	close(seqs)
	workers.Wait()
	bar.Finish()
	if err := context.Cause(ctx); errors.Is(err, context.Canceled) {
		return done, gone, errors.New("interrupted")
	}
	return done, gone, context.Cause(ctx)
}
