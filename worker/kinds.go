package worker

import "hash/maphash"

// kinds knows the batches that take jobs by their key, and remembers the keys of batches lately begun.
// A job that has no batch yet is looked up, put in and taken out again, all at the cost of one hash.
type kinds struct {
	seed    maphash.Seed
	open    int // batches that take jobs
	buckets [1 << 14]bucket
}

// bucket is what is known of the keys whose hashes lead to it.
type bucket struct {
	lately uint64 // the hash of the key of the last batch begun here
	open   *batch // the first of those that take jobs; the others follow by batch.beside
}

func newKinds() kinds { return kinds{seed: maphash.MakeSeed()} }

func (k *kinds) bucket(hash uint64) *bucket { return &k.buckets[hash%uint64(len(k.buckets))] }

// find gives the key's hash, and its batch that takes jobs, or nil.
func (k *kinds) find(wanted key) (hash uint64, b *batch) {
	hash = maphash.Comparable(k.seed, wanted)
	return hash, k.lookUp(wanted, hash)
}

func (k *kinds) lookUp(wanted key, hash uint64) *batch {
	b := k.bucket(hash).open
	for b != nil && (b.hash != hash || b.key != wanted) {
		b = b.beside
	}
	return b
}

// put adds a batch that begins to take jobs, and whose key has none.
func (k *kinds) put(b *batch, hash uint64) {
	p := k.bucket(hash)
	b.hash, b.again, b.beside = hash, p.lately == hash, p.open
	p.lately, p.open = hash, b
	k.open++
}

// remove takes out a batch that is in.
func (k *kinds) remove(b *batch) {
	at := &k.bucket(b.hash).open
	for *at != b {
		at = &(*at).beside
	}
	*at, b.beside = b.beside, nil
	k.open--
}
