package worker

import "time"

// past is what is known from earlier calls of a batch, if some failed, were refused, or were made for a
// part of it. Most batches have none.
type past struct {
	troubled time.Time // when a call failed first, but for refusals; zero: none did
	limit    int       // recipients that a call may have, as larger ones failed; 0: as many as any

	// The results of the calls of its parts; see refuse.
	accepted      bool
	refusals      int
	refusalStatus int  // -1 when they differ
	refusedAlone  int  // recipients refused when they stood alone
	whole         bool // the message is at fault: it is not halved any more

	// What it tells about the size of calls: the largest that was accepted, the smallest that was
	// refused, and whether what was held to be at fault for a refusal was accepted in the end.
	mostAccepted, leastRefused int
	disproved                  bool
}

var noPast past

// seen is the batch's past, to be read.
func (b *batch) seen() *past {
	if b.past == nil {
		return &noPast
	}
	return b.past
}

// note is the batch's past, to be written.
func (b *batch) note() *past {
	if b.past == nil {
		b.past = new(past)
	}
	return b.past
}
