package worker

import (
	"errors"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// result is the result of one call.
type result struct {
	ended     []*task // every recipient has an outcome, or the lease lapsed
	jobs      int
	delivered int
	unknown   int
	status    int
	err       *chatapi.Error // nil when the call was accepted
}

// accepted reports whether the API handled the call, even if it refused it: then the project's gate
// stays open.
func (r *result) accepted() bool { return r.err == nil || r.err.Kind == chatapi.Refused }

// maxUnreadable is how often a job is called for when the API answers 200 but cannot be
// understood. Probably all were delivered to each time, so this also bounds the repeats.
const maxUnreadable = 3

// record records the result of the call of the last part. What is to go again stays in parts.
func (b *batch) record(now time.Time, cfg Config, report chatapi.Report, err error) result {
	p := b.next()
	tasks := p.tasks()
	res := result{status: report.Status, jobs: len(tasks)}
	for _, t := range tasks {
		t.lease.Attempts++
	}
	if err == nil {
		res.unknown = len(report.Unknown)
		b.deliver(report, &res)
		return res
	}
	res.err = apiError(err, cfg.MaxRetryAfter)
	res.status = res.err.Status
	detail := res.err.Error()
	for _, t := range tasks {
		t.lease.LastError = detail
	}
	if res.err.Kind == chatapi.Refused {
		b.refuse(now, &res)
		return res
	}
	probably := res.err.Kind == chatapi.Unreadable && res.err.MayBeDelivered
	for _, t := range tasks {
		if probably {
			t.lease.Unreadable++
			t.unreadable = true
		}
	}
	b.giveUp(&res, func(t *task) queue.Reason {
		switch {
		case probably && t.lease.Unreadable >= maxUnreadable, cfg.BuryAmbiguous && res.err.MayBeDelivered:
			return queue.Ambiguous
		case !now.Before(t.end(cfg.RetryFor)):
			return queue.Exhausted
		}
		return ""
	})
	return res
}

// deliver gives every recipient of the last part, which was accepted, its outcome.
func (b *batch) deliver(report chatapi.Report, res *result) {
	p := *b.next()
	b.drop()
	b.accepted = true
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
func (b *batch) giveUp(res *result, why func(*task) queue.Reason) {
	last := b.next()
	kept := last.recipients[:0]
	for _, r := range last.recipients {
		reason := why(r.task)
		if reason == "" {
			kept = append(kept, r)
		} else if r.task.fail(r.id, reason, res.err.Error(), res.err.Status) {
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
