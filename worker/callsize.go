package worker

import "time"

// callSize learns how many recipients the API takes in one call of a project, which it does not tell
// but by refusing larger ones. A refusal may as well be about a recipient or a message. So it counts as
// one of its size when a second message is refused, and no call as large was accepted between, or for
// sure when all recipients of a refused call were accepted in smaller ones.
type callSize struct {
	accepted int  // the largest call that was accepted since refused is known
	refused  int  // the smallest call that was refused for its size; 0: none is known
	sure     bool // that it was for its size
	trying   bool // a call larger than accepted is in flight
	again    time.Time
	last     struct { // the last refusal that was not explained
		message    string
		recipients int
	}
}

// sizeAgain is how long after the last refusal a larger call is tried again.
const sizeAgain = 10 * time.Minute

// limit is how many recipients the next call may have: at most most, of which the API took or refused
// none yet. Between what it took and what it refused the middle is tried, by one call at a time.
func (c *callSize) limit(now time.Time, most int) int {
	between := c.refused - c.accepted
	switch {
	case c.refused == 0:
		return most
	case c.accepted == 0:
		return max(1, min(most, c.refused/2))
	case c.trying:
		return c.accepted
	case now.After(c.again):
		return min(most, 2*c.accepted)
	case between <= 1 || between <= c.accepted/16:
		return c.accepted
	}
	return min(most, c.accepted+between/2)
}

// begin takes down that a call with so many recipients goes.
func (c *callSize) begin(recipients int) {
	if c.refused > 0 && c.accepted > 0 && recipients > c.accepted {
		c.trying = true
	}
}

// accept learns from a call that was accepted.
func (c *callSize) accept(recipients int) {
	if recipients >= c.last.recipients {
		c.last.recipients = 0
	}
	switch {
	case c.refused == 0:
	case recipients >= c.refused:
		*c = callSize{}
	case recipients > c.accepted:
		c.accepted, c.trying = recipients, false
	}
}

// refuse learns from a call that was refused, or would have been had it come alone.
func (c *callSize) refuse(now time.Time, recipients int, message string) {
	switch {
	case recipients < 2:
		return
	case c.trying && recipients > c.accepted: // a trial
		c.refused, c.trying, c.again = recipients, false, now.Add(sizeAgain)
		return
	case c.last.recipients > 0 && c.last.message != message:
		smaller := min(c.last.recipients, recipients)
		if c.refused == 0 || smaller < c.refused {
			c.refused, c.again = smaller, now.Add(sizeAgain)
		}
		if c.accepted >= c.refused {
			c.accepted = 0
		}
	}
	c.last.recipients, c.last.message = recipients, message
}

// explained takes down that what was refused had another cause than its size.
func (c *callSize) explained() {
	c.last.recipients = 0
	if !c.sure {
		*c = callSize{}
	}
}

// confirm takes down that a call was refused for its size: all of it was accepted in smaller ones.
func (c *callSize) confirm(now time.Time, accepted, refused int) {
	if accepted >= refused {
		return
	}
	if c.refused == 0 || refused < c.refused {
		c.refused, c.again = refused, now.Add(sizeAgain)
	}
	if accepted < c.refused && (accepted > c.accepted || c.accepted >= c.refused) {
		c.accepted = accepted
	}
	c.sure = true
}

// known is how many recipients the API takes; 0: as many as it got.
func (c *callSize) known() int {
	if !c.sure {
		return 0
	}
	return c.accepted
}

// learn learns from the result of a batch's call. It returns whether what is known changed, and whether
// anything was known before.
func (c *callSize) learn(now time.Time, b *batch, res *result) (changed, again bool) {
	before, recipients := c.known(), res.recipients
	switch {
	case recipients == 0: // the call was given up, which may have been the trial
		c.trying = false
	case res.err == nil:
		c.accept(recipients)
	case res.accepted():
		c.refuse(now, recipients, b.key.message)
	case recipients > c.accepted:
		c.trying = false // another trial will tell
	}
	switch past, over := b.seen(), len(b.parts) == 0; {
	case past.leastRefused == 0:
	case over && past.refusedAlone > 0:
		c.explained()
	case past.disproved, over && past.accepted:
		c.confirm(now, past.mostAccepted, past.leastRefused)
	}
	known := c.known()
	return known != before && (known > 0 || c.refused == 0), before > 0 && known > 0
}
