package queue

import (
	"strings"
	"testing"
)

// A worker whose user lost the permission to pull says that, and not that too many pulls are waiting.
func TestPullsThatAreDenied(t *testing.T) {
	t.Parallel()
	_, q := withUsers(t, `publish: {allow: ">", deny: "$JS.API.CONSUMER.MSG.NEXT.NOTIFY_BULK.worker"}, subscribe: ">"`)
	jobs := openJobs(t, q, JobsConfig{})
	eventually(t, "it is said why nothing is taken in", func() bool {
		for _, c := range jobs.Conditions() {
			if jobs.Ready() != nil && strings.HasSuffix(c.What, JobStream(Bulk)) && strings.Contains(c.Detail, "may not publish to the subject: $JS.API.CONSUMER.MSG.NEXT.NOTIFY_BULK.worker") {
				return true
			}
		}
		return false
	})
}
