package daemon

import (
	"bytes"
	"testing"
)

// What is said just before the end is written, also when nobody has looked at it yet.
func TestLastLineIsWritten(t *testing.T) {
	t.Parallel()
	for i := range 5000 {
		var out bytes.Buffer
		w := NewLogWriter(&out)
		if _, err := w.Write([]byte("the last line\n")); err != nil {
			t.Fatal(err)
		}
		if w.Close(); out.Len() == 0 {
			t.Fatalf("at attempt %d nothing was written", i)
		}
	}
}
