package ops

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/chatrelay/chatrelay/queue"
)

// Action is what can be done to many dead letters.
type Action string

// The actions.
const (
	// Replay publishes the recipients of letters as jobs once more, and then deletes the letters.
	// Letters of payloads that were invalid cannot be replayed.
	Replay Action = "replay"
	// Drop deletes letters for good.
	Drop Action = "drop"
)

// Plan is exactly the letters to act on.
type Plan struct {
	Action     Action
	Seqs       []uint64 // numbers of the letters, oldest first
	Recipients int      // of all of them
	Groups     []Group  // the same letters, by project and reason; never nil
	// Invalid counts letters that match and are left alone, because their payloads were invalid.
	Invalid int
}

// Group is what a plan holds of one project and reason. Its JSON form is a contract with users.
type Group struct {
	Project    string       `json:"project_id"`
	Reason     queue.Reason `json:"reason"`
	Letters    int          `json:"letters"`
	Recipients int          `json:"recipients"`
}

// Plan finds the letters that match and can be acted on. It changes nothing.
func (o *Ops) Plan(ctx context.Context, act Action, f queue.Filter) (Plan, error) {
	p := Plan{Action: act, Groups: []Group{}}
	type key struct {
		project string
		reason  queue.Reason
	}
	groups := map[key]*Group{}
	err := o.q.DeadLetters(ctx, f, func(l queue.DeadLetter) bool {
		if act == Replay && l.Reason == queue.Invalid {
			p.Invalid++
			return true
		}
		k := key{l.ProjectID, l.Reason}
		if groups[k] == nil {
			groups[k] = &Group{Project: l.ProjectID, Reason: l.Reason}
		}
		groups[k].Letters++
		groups[k].Recipients += len(l.WovenIDs)
		p.Seqs = append(p.Seqs, l.Seq)
		p.Recipients += len(l.WovenIDs)
		return true
	})
	for _, g := range groups {
		p.Groups = append(p.Groups, *g)
	}
	slices.SortFunc(p.Groups, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Project, b.Project), strings.Compare(string(a.Reason), string(b.Reason)))
	})
	return p, err
}
