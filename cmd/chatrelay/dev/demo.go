package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// demo shows the way of the jobs in plain words.
type demo struct {
	out, err io.Writer
	json     bool // out is for the summary only, in JSON
	api      *chatapitest.Server
	url      string // of NATS

	mu    sync.Mutex // guards the output and what follows
	calls int
	jobs  []sampleJob
	// settled counts the jobs that the worker said are settled; paused are the projects whose pause
	// it announced without an end as yet.
	settled int
	paused  map[string]bool
}

type sampleJob struct {
	priority queue.Priority
	job      queue.Job
}

// The projects of the sample.
const (
	cafe     = "0f8fad5b-d9cb-469f-a165-70867728950e"
	festival = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
)

func projectName(id string) string {
	switch id {
	case cafe:
		return "café"
	case festival:
		return "festival"
	}
	return term.Clip(term.Plain(id), 8)
}

// sampleJobs are fresh at every start: their ids end in the time, so that a kept state does not
// take them for repetitions.
func sampleJobs(now time.Time) []sampleJob {
	run := strconv.FormatInt(now.UnixMilli(), 36)
	job := func(p queue.Priority, project, id, message string, to ...string) sampleJob {
		return sampleJob{p, queue.Job{ID: id + "-" + run, ProjectID: project, Message: message, WovenIDs: to}}
	}
	jobs := []sampleJob{
		job(queue.Urgent, festival, "storm", "Storm warning: please leave the meadow.", "w-1", "w-2", "w-3"),
		job(queue.Bulk, festival, "moved", "The festival has moved to the east park.", "w-1", "w-2", "w-4", "member-jun"),
	}
	for i, who := range []string{"w-11", "w-12", "w-13", "unknown-mika", "w-14"} {
		jobs = append(jobs, job(queue.Normal, cafe, fmt.Sprintf("order-%d", 8731+i), "Your coffee is ready.", who))
	}
	return append(jobs, job(queue.Normal, cafe, "newcomer", "Welcome! Your first coffee is on us.", "w-new", "w-15"))
}

// sample publishes the sample and waits until every recipient is accounted for. It returns those
// who are not after a minute.
func (d *demo) sample(ctx context.Context, q *queue.Queue, ended chan error) (missing []string, err error) {
	d.jobs = sampleJobs(time.Now())
	d.api.Reject("user not found", "w-new")
	d.api.Script(chatapitest.Fault{Project: festival, Status: 503, Body: "busy"})
	pub := q.Publisher(queue.PublisherConfig{})
	for _, s := range d.jobs {
		if _, err := pub.Publish(ctx, s.priority, s.job); err != nil {
			return nil, err
		}
		d.say("%-6s job   %-9s %-22s %s to %s", s.priority, projectName(s.job.ProjectID), s.job.ID, quote(s.job.Message), term.Counted(len(s.job.WovenIDs), "recipient"))
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for {
		if missing, err = d.unaccounted(ctx, q); err != nil || len(missing) == 0 {
			break
		}
		select {
		case <-tick.C:
			continue
		case err := <-ended:
			ended <- nil
			return missing, errors.Join(errors.New("the worker ended"), err)
		case <-ctx.Done():
			return missing, errors.New("interrupted before the sample was done")
		case <-timeout:
		}
		break
	}
	if err == nil && len(missing) == 0 {
		d.awaitEvents(ctx, tick.C)
	}
	// Whoever was not found has registered meanwhile, so that a replay has something to show.
	d.api.Reject("", "w-new")
	return missing, err
}

// awaitEvents waits until the worker has shown how the sample's jobs and pauses ended, for two
// seconds at most: the servers know before it says so.
func (d *demo) awaitEvents(ctx context.Context, tick <-chan time.Time) {
	timeout := time.After(2 * time.Second)
	for !d.shown() {
		select {
		case <-tick:
		case <-timeout:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (d *demo) shown() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settled >= len(d.jobs) && len(d.paused) == 0
}

// unaccounted lists the sample's recipients that were neither reached exactly once nor dead-lettered.
func (d *demo) unaccounted(ctx context.Context, q *queue.Queue) (missing []string, err error) {
	dead, err := d.sampleLetters(ctx, q)
	if err != nil {
		return nil, err
	}
	buried := map[string]bool{}
	for _, l := range dead {
		for _, id := range l.WovenIDs {
			buried[l.JobID+" "+id] = true
		}
	}
	for _, s := range d.jobs {
		for _, id := range s.job.WovenIDs {
			delivered := d.api.Delivered(s.job.ProjectID, s.job.Message, id)
			if dead := buried[s.job.ID+" "+id]; (delivered == 1) == dead {
				missing = append(missing, fmt.Sprintf("%s of job %s: delivered %d times, dead letter %v", id, s.job.ID, delivered, dead))
			}
		}
	}
	return missing, nil
}

func (d *demo) sampleLetters(ctx context.Context, q *queue.Queue) (dead []queue.DeadLetter, err error) {
	ours := map[string]bool{}
	for _, s := range d.jobs {
		ours[s.job.ID] = true
	}
	err = q.DeadLetters(ctx, queue.Filter{}, func(l queue.DeadLetter) bool {
		if ours[l.JobID] {
			dead = append(dead, l)
		}
		return true
	})
	return dead, err
}

// summary prints what the sample came to, and fails if a recipient is missing.
func (d *demo) summary(ctx context.Context, q *queue.Queue, missing []string) error {
	dead, err := d.sampleLetters(ctx, q)
	if err != nil {
		return err
	}
	recipients, buried := 0, 0
	for _, s := range d.jobs {
		recipients += len(s.job.WovenIDs)
	}
	for _, l := range dead {
		buried += len(l.WovenIDs)
	}
	d.mu.Lock()
	calls := d.calls
	d.mu.Unlock()
	if missing == nil {
		missing = []string{}
	}
	sum := map[string]any{"jobs": len(d.jobs), "recipients": recipients, "calls": calls,
		"delivered": recipients - buried - len(missing), "dead": buried, "missing": missing}
	if d.json {
		if err := term.PrintJSON(d.out, sum); err != nil {
			return err
		}
	}
	d.say("\n%s with %s in %s: %d delivered, %d dead-lettered", term.Counted(len(d.jobs), "job"),
		term.Counted(recipients, "recipient"), term.Counted(calls, "call"), recipients-buried-len(missing), buried)
	if len(missing) > 0 {
		return fmt.Errorf("%d recipients are not accounted for:\n  %s", len(missing), strings.Join(missing, "\n  "))
	}
	d.say("every recipient is accounted for")
	return nil
}
