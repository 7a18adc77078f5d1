package worker

import (
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// letters are the dead letters of what failed and is not buried yet, one for each reason.
func (t *task) letters(now time.Time) []queue.DeadLetter {
	if t.returned != nil {
		return []queue.DeadLetter{*t.returned}
	}
	var letters []queue.DeadLetter
next:
	for _, f := range t.failed {
		entry := queue.Failure{WovenIDs: f.ids, Detail: f.detail, Status: f.status}
		for i := range letters {
			if l := &letters[i]; l.Reason == f.reason {
				l.WovenIDs = append(l.WovenIDs, f.ids...)
				l.Failures = append(l.Failures, entry)
				continue next
			}
		}
		letters = append(letters, t.letter(now, f.reason, append([]string(nil), f.ids...), entry))
	}
	return letters
}

func (t *task) letter(now time.Time, reason queue.Reason, ids []string, entry queue.Failure) queue.DeadLetter {
	l := t.lease
	letter := queue.DeadLetter{
		JobID: l.Job.ID, ProjectID: l.Job.ProjectID, Priority: l.Priority, Message: l.Job.Message,
		WovenIDs: ids, Reason: reason, Failures: []queue.Failure{entry}, FailedAt: now, History: l.History, Origin: l.Origin(),
	}
	if l.Invalid != nil {
		letter.ProjectID, letter.Raw = queue.UnknownProject, l.Raw
		letter.JobID, letter.Message, letter.WovenIDs = "", "", nil
	}
	return letter
}
