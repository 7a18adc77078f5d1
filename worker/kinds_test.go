package worker

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue"
)

// Keys whose hashes lead to the same bucket, or are the same, are told apart, in whichever order their
// batches come and go.
func TestKindsAreToldApart(t *testing.T) {
	k, random := newKinds(), rand.New(rand.NewPCG(1, 2))
	hash := func(i int) uint64 { // three keys have each, and four of these lead to a bucket
		return uint64(i/3%4*len(k.buckets) + i%2)
	}
	open, lately := map[key]*batch{}, map[uint64]uint64{}
	for step := range 20_000 {
		i := random.IntN(24)
		wanted := key{queue.Normal, "p", fmt.Sprint(i)}
		b := k.lookUp(wanted, hash(i))
		if b != open[wanted] {
			t.Fatalf("step %d: found %p for text %d, want %p", step, b, i, open[wanted])
		}
		if b != nil {
			k.remove(b)
			delete(open, wanted)
		} else {
			b = newBatch(wanted, time.Time{})
			k.put(b, hash(i))
			place := hash(i) % uint64(len(k.buckets))
			if last, ok := lately[place]; b.again != (ok && last == hash(i) || !ok && hash(i) == 0) {
				t.Fatalf("step %d: text %d comes again: %v", step, i, b.again)
			}
			open[wanted], lately[place] = b, hash(i)
		}
		if k.open != len(open) {
			t.Fatalf("step %d: %d are open, want %d", step, k.open, len(open))
		}
	}
	for _, b := range open {
		k.remove(b)
	}
	for i := range k.buckets {
		if k.buckets[i].open != nil || k.open != 0 {
			t.Fatalf("in bucket %d is left %v, and %d are open", i, k.buckets[i].open, k.open)
		}
	}
}
