package worker

import (
	"errors"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// result is the result of one call.
type result struct {
	ended      []*task // every recipient has an outcome, or the lease lapsed
	jobs       int
	recipients int // in the call
	delivered  int
	unknown    int
	unsent     bool // the call was not made, as its job could not be split
	resting    int  // parts at the end of the batch that have to wait, as their call failed
	status     int
	doubt      string         // why the answer was understood in part only
	err        *chatapi.Error // nil when the call was accepted
}

// accepted reports whether the API handled the call, even if it refused it: then the project's gate
// stays open.
func (r *result) accepted() bool { return r.err == nil || r.err.Kind == chatapi.Refused }

// record records the result of the call of the last part. What is to go again stays in parts.
func (b *batch) record(now time.Time, cfg Config, report chatapi.Report, err error) result {
	p := b.next()
	tasks := p.tasks()
	res := result{status: report.Status, jobs: len(tasks), recipients: b.cost()}
	if err == nil {
		countAttempt(tasks)
		res.unknown, res.doubt = len(report.Unknown), report.Doubt
		b.deliver(report, &res)
		return res
	}
	res.err = apiError(err, cfg.MaxRetryAfter)
	res.status = res.err.Status
	if !res.err.Unsent {
		countAttempt(tasks)
	}
	detail := res.err.Error()
	for _, t := range tasks {
		t.lease.LastError, t.lease.LastStatus = detail, res.status
	}
	if res.err.Kind == chatapi.Refused {
		b.refuse(now, &res)
	} else {
		b.callFailed(now, cfg, &res)
	}
	return res
}

func countAttempt(tasks []*task) {
	for _, t := range tasks {
		t.lease.Attempts++
	}
}

// deliver gives every recipient of the last part, which was accepted, its outcome.
func (b *batch) deliver(report chatapi.Report, res *result) {
	p := *b.next()
	b.drop()
	if b.past != nil || len(b.parts) > 0 {
		past := b.note()
		past.accepted = true
		past.mostAccepted = max(past.mostAccepted, len(p.recipients))
		past.disproved = past.disproved || p.suspect && len(p.recipients) == 1
	}
	if p.first && len(b.parts) > 0 {
		b.next().suspect = true
	}
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
		ended := false
		if reason, bad := rejected[r.id]; bad {
			ended = r.task.fail(r.id, queue.Rejected, reason, report.Status)
		} else {
			ended = r.task.deliver()
			res.delivered++
		}
		if ended {
			res.ended = append(res.ended, r.task)
		}
	}
}

// giveUp gives the recipients in the last part for whose task there is a reason that outcome.
func (b *batch) giveUp(res *result, why func(*task, string) (queue.Reason, string)) {
	last := b.next()
	kept := last.recipients[:0]
	for _, r := range last.recipients {
		reason, detail := why(r.task, r.id)
		if reason == "" {
			kept = append(kept, r)
		} else if r.task.fail(r.id, reason, detail, res.err.Status) {
			res.ended = append(res.ended, r.task)
		}
	}
	if last.recipients = kept; len(kept) == 0 {
		b.drop()
	}
}

// apiError gives every failure the type that decisions need, and bounds the wait that it asks for.
func apiError(err error, longest time.Duration) *chatapi.Error {
	if api, ok := errors.AsType[*chatapi.Error](err); ok {
		if api.RetryAfter > longest {
			shorter := *api
			shorter.RetryAfter = longest
			return &shorter
		}
		return api
	}
	return &chatapi.Error{Kind: chatapi.Temporary, Err: err, Detail: err.Error()}
}
