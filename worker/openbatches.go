package worker

import (
	"hash/maphash"
	"time"
)

// openBatches are the batches that take jobs, by the hash of their key, and the hashes of those that
// were sealed lately: a key that comes again is worth waiting for.
type openBatches struct {
	seed   maphash.Seed
	byHash map[uint64]*batch // nil: sealed lately
	n      int               // those that take jobs
	sets   setPool
}

// rememberedKeys is how many keys without an open batch are remembered, at 16 bytes each. It is more
// than the distinct messages that a window usually holds.
const rememberedKeys = 1 << 14

func newOpenBatches() openBatches {
	return openBatches{seed: maphash.MakeSeed(), byHash: map[uint64]*batch{}}
}

// join puts a task of a flow into the open batch of its key. Where that has no room it is full, and another one
// begins. A batch that is full by the task itself is sealed already.
func (o *openBatches) join(now time.Time, f *flow, t *task, limit int) (b, full *batch, begun bool) {
	l := t.lease
	k := key{l.Priority, l.Job.ProjectID, l.Job.Message}
	b, hash, seen := o.find(k)
	if b == nil || !b.add(now, t, limit, &o.sets) {
		if full = b; full != nil {
			o.seal(full)
		}
		b, begun = newBatch(k, now), true
		b.flow, b.again = f, seen
		b.add(now, t, limit, &o.sets)
		o.put(b, hash)
	}
	if b.size >= limit {
		o.seal(b)
	}
	return b, full, begun
}

// seal ends the time in which jobs may join a batch that is open, and remembers its key.
func (o *openBatches) seal(b *batch) {
	b.seal(&o.sets)
	o.n--
	if o.byHash[b.hash] == b {
		o.byHash[b.hash] = nil
	}
}

// find gives the key's open batch, or nil; its hash, for put; and whether it was seen lately.
func (o *openBatches) find(k key) (b *batch, hash uint64, seen bool) {
	hash = maphash.Comparable(o.seed, k)
	b, seen = o.byHash[hash]
	if b != nil && b.key != k { // two keys in 2^64: whichever came first is left to its own
		b = nil
	}
	return b, hash, seen
}

// put adds a batch that begins to take jobs, and whose key has none.
func (o *openBatches) put(b *batch, hash uint64) {
	b.hash = hash
	o.byHash[hash] = b
	o.n++
	if len(o.byHash) > 2*(o.n+rememberedKeys) {
		for h, open := range o.byHash {
			if open == nil {
				delete(o.byHash, h)
			}
		}
	}
}
