package queue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Tried says of some recipients, who follow one another in a job, how many calls were made for them.
type Tried struct{ Recipients, Calls int }

// maxTried bounds the runs of recipients that a history tells apart; each takes at most 16 bytes in a header.
const maxTried = 512

// triedOf is what all says of some recipients of a job, from one on.
func triedOf(all []Tried, from, recipients int) (some []Tried) {
	first := 0
	for _, t := range all {
		begin, end := max(first, from), min(first+t.Recipients, from+recipients)
		if begin < end {
			some = append(some, Tried{Recipients: end - begin, Calls: t.Calls})
		}
		first += t.Recipients
	}
	return some
}

func encodeTried(all []Tried) string {
	var b strings.Builder
	for i, t := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d*%d", t.Calls, t.Recipients)
	}
	return b.String()
}

func decodeTried(value string) (all []Tried) {
	for one := range strings.SplitSeq(value, ",") {
		calls, recipients, _ := strings.Cut(one, "*")
		c, badCalls := strconv.Atoi(calls)
		n, badRecipients := strconv.Atoi(recipients)
		if badCalls != nil || badRecipients != nil || c < 0 || n < 1 || n > maxCount {
			return nil
		}
		all = append(all, Tried{Recipients: n, Calls: min(c, maxCount)})
	}
	return all
}

// boundTried joins neighbours until there are at most maxTried, and counts for them what was tried more often:
// rather a call too few than one too many.
func boundTried(all []Tried) []Tried {
	for len(all) > maxTried {
		joined := make([]Tried, 0, (len(all)+1)/2)
		for pair := range slices.Chunk(all, 2) {
			t := pair[0]
			if len(pair) == 2 {
				t = Tried{Recipients: min(t.Recipients+pair[1].Recipients, maxCount), Calls: max(t.Calls, pair[1].Calls)}
			}
			joined = append(joined, t)
		}
		all = joined
	}
	return all
}
