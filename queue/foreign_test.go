package queue

import (
	"testing"
)

// A message that is not a letter is shown, so that it can be dropped, and the letters behind it are read.
func TestForeignMessageAmongLetters(t *testing.T) {
	q := newQueue(t)
	bury := func(where string) {
		l := DeadLetter{JobID: where, ProjectID: projectA, Priority: Normal, Message: "m", WovenIDs: []string{"w"}, Reason: Rejected, Origin: where}
		if _, err := q.Bury(t.Context(), []DeadLetter{l}); err != nil {
			t.Fatal(err)
		}
	}
	bury("normal-1")
	if _, err := q.js.Publish(t.Context(), deadPrefix+projectA+".rejected.normal-2", []byte("oops")); err != nil {
		t.Fatal(err)
	}
	bury("normal-3")
	all := letters(t, q, Filter{})
	if len(all) != 3 || all[1].Reason != Invalid || string(all[1].Raw) != "oops" || all[2].JobID != "normal-3" {
		t.Fatalf("letters %+v", all)
	}
	if err := q.Drop(t.Context(), all[1].Seq); err != nil {
		t.Fatal(err)
	}
	if err := q.Replay(t.Context(), all[2].Seq); err != nil {
		t.Fatal(err)
	}
}
