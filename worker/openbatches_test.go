package worker

import (
	"fmt"
	"testing"
	"time"
)

// Keys that were sealed are remembered, but not for ever; those with an open batch always.
func TestKeysAreForgotten(t *testing.T) {
	o := newOpenBatches()
	begin := func(message string) *batch {
		b := newBatch(key{message: message}, time.Time{})
		_, hash, _ := o.find(b.key)
		o.put(b, hash)
		return b
	}
	open := begin("open")
	for i := range 3 * rememberedKeys {
		o.seal(begin(fmt.Sprint("text", i)))
	}
	if n := len(o.byHash); n > 2*(1+rememberedKeys) {
		t.Errorf("%d keys are remembered", n)
	}
	if _, _, seen := o.find(key{message: fmt.Sprint("text", 3*rememberedKeys-1)}); !seen {
		t.Error("the last key is forgotten")
	}
	if b, _, _ := o.find(open.key); b != open || o.n != 1 {
		t.Errorf("%d batches are open, and the first one is not found", o.n)
	}
}
