package lines

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chatrelay/chatrelay/queue"
)

func text(id, message string) string {
	return fmt.Sprintf(`{"id":%q,"project_id":"0f8fad5b-d9cb-469f-a165-70867728950e","message":%q,"woven_ids":["w-1"]}`, id, message)
}

// read reads everything, and returns ids and places of jobs, and places of bad lines.
func read(t *testing.T, priority queue.Priority, stdin string, names ...string) (ids, places, bad []string) {
	t.Helper()
	in, err := Open(names, strings.NewReader(stdin))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := NewReader(in, priority)
	r.Jobs(func(p queue.Priority, j queue.Job) bool {
		if p != priority {
			t.Errorf("priority %s", p)
		}
		ids = append(ids, j.ID)
		at := r.Place()
		places = append(places, fmt.Sprintf("%s:%d", filepath.Base(at.File), at.Number))
		return true
	})
	for _, b := range r.BadBefore(End) {
		bad = append(bad, fmt.Sprintf("%s:%d", filepath.Base(b.File), b.Number))
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return ids, places, bad
}

func TestReader(t *testing.T) {
	first := filepath.Join(t.TempDir(), "first")
	if err := os.WriteFile(first, []byte("\uFEFF"+text("a", "m")+"\n\nnot json\r\n"+text("b", "m")), 0o600); err != nil {
		t.Fatal(err)
	}
	ids, places, bad := read(t, queue.Normal, text("c", "m")+"\n{}\n", first, "-", first)
	if !slices.Equal(ids, []string{"a", "b", "c", "a", "b"}) || !slices.Equal(places, []string{"first:1", "first:4", "standard input:1", "first:1", "first:4"}) ||
		!slices.Equal(bad, []string{"first:3", "standard input:2", "first:3"}) {
		t.Errorf("ids %q at %q, bad %q", ids, places, bad)
	}
	in, err := Open([]string{first, first}, nil)
	if info, _ := os.Stat(first); err != nil || in.Size != 2*info.Size() {
		t.Errorf("size %d (%v)", in.Size, err)
	}
	in.Close()
	if in, err = Open([]string{first, "-"}, strings.NewReader("")); err != nil || in.Size != -1 {
		t.Errorf("with standard input the size is %d (%v)", in.Size, err)
	}
	in.Close()
	if _, err := Open([]string{first, "absent"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

// The same input gives the same ids, and a line that stands twice is two jobs.
func TestIDsByContent(t *testing.T) {
	one, two := strings.Replace(text("", "one"), `"id":"",`, "", 1), strings.Replace(text("", "two"), `"id":"",`, "", 1)
	ids, _, _ := read(t, queue.Bulk, one+"\n"+two+"\n  "+one+"  \n", "-")
	again, _, _ := read(t, queue.Bulk, one+"\n"+two+"\n"+one, "-")
	if len(ids) != 3 || !slices.Equal(ids, again) || ids[0] == ids[1] || ids[0] == ids[2] || ids[1] == ids[2] {
		t.Errorf("ids %q and %q", ids, again)
	}
	if other, _, _ := read(t, queue.Urgent, one, "-"); other[0] == ids[0] {
		t.Error("the id does not depend on the priority")
	}
}

func TestLongLine(t *testing.T) {
	_, places, bad := read(t, queue.Normal, strings.Repeat("x", maxLine+1)+"\n"+text("a", "m"), "-")
	if !slices.Equal(places, []string{"standard input:2"}) || !slices.Equal(bad, []string{"standard input:1"}) {
		t.Errorf("jobs at %q, bad %q", places, bad)
	}
}

func TestStop(t *testing.T) {
	in, err := Open([]string{"-"}, strings.NewReader(text("a", "m")+"\n"+text("b", "m")))
	if err != nil {
		t.Fatal(err)
	}
	r, n := NewReader(in, queue.Normal), 0
	r.Jobs(func(queue.Priority, queue.Job) bool { n++; r.Stop(); return true })
	if n != 1 || !r.Stopped() {
		t.Errorf("%d jobs after Stop", n)
	}
}
