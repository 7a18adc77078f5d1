package lines

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chatrelay/chatrelay/queue"
)

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// gzip data are read as what is in them, from a file and from standard input, with the same ids.
func TestGzip(t *testing.T) {
	line := strings.Replace(text("", "one"), `"id":"",`, "", 1)
	plain := "\uFEFF" + line + "\n\nnot json\n" + text("b", "m") + "\n"
	name := filepath.Join(t.TempDir(), "jobs")
	if err := os.WriteFile(name, []byte(packed(t, plain)+packed(t, text("c", "m"))), 0o600); err != nil { // two members, as cat makes them
		t.Fatal(err)
	}
	want, _, _ := read(t, queue.Normal, line, "-")
	for range 2 {
		ids, places, bad := read(t, queue.Normal, packed(t, text("d", "m")), name, "-")
		if !slices.Equal(ids, []string{want[0], "b", "c", "d"}) || !slices.Equal(places, []string{"jobs:1", "jobs:4", "jobs:5", "standard input:1"}) || !slices.Equal(bad, []string{"jobs:3"}) {
			t.Errorf("ids %q at %q, bad %q", ids, places, bad)
		}
	}
	in, err := Open([]string{name}, nil)
	if err != nil || in.Size != -1 {
		t.Errorf("the size of what is packed is taken for %d (%v)", in.Size, err)
	}
	in.Close()
	if ids, _, _ := read(t, queue.Normal, packed(t, ""), "-"); len(ids) != 0 {
		t.Errorf("nothing, packed, gives %q", ids)
	}
}

// What is damaged is an error behind the jobs that could be read; a part of a line is no job.
func TestDamagedGzip(t *testing.T) {
	var all strings.Builder
	for i := range 200 {
		all.WriteString(text("job-"+string(rune('a'+i%26)), strings.Repeat("x", i+1)) + "\n")
	}
	whole := packed(t, all.String())
	for name, c := range map[string]struct{ data, fault string }{
		"cut in the data":      {whole[:len(whole)/2], "is cut off"},
		"cut in the header":    {whole[:5], "is cut off"},
		"cut behind the magic": {whole[:2], "is cut off"},
		"without its checksum": {whole[:len(whole)-8], "is cut off"},
		"another checksum":     {whole[:len(whole)-8] + "abcdefgh", "is damaged"},
		"a damaged header":     {whole[:2] + "\x07" + whole[3:], "is damaged"},
		"damaged data":         {whole[:40] + strings.Repeat("\xff", 40) + whole[80:], "is damaged"},
		"something behind it":  {whole + "something else", "what follows the gzip data"},
	} {
		in, err := Open([]string{"-"}, strings.NewReader(c.data))
		if err != nil {
			t.Fatal(err)
		}
		r, n := NewReader(in, queue.Normal), 0
		r.Jobs(func(queue.Priority, queue.Job) bool { n++; return true })
		if r.Err() == nil || !strings.Contains(r.Err().Error(), "read standard input: ") || !strings.Contains(r.Err().Error(), c.fault) || len(r.BadBefore(End)) > 0 {
			t.Errorf("%s: %v after %d jobs", name, r.Err(), n)
		}
	}
}

// What holds jobs in another form is refused as a whole, by its name.
func TestOtherFormats(t *testing.T) {
	for data, is := range map[string]string{
		"\x28\xB5\x2F\xFD\x00": "a zstd file", "\xFD7zXZ\x00\x00": "an xz file", "BZh91AY": "a bzip2 file", "\x04\x22\x4D\x18\x00": "an lz4 file",
		"PK\x03\x04\x14": "a zip file", "\xFF\xFE{\x00": "UTF-16", "\xFE\xFF\x00{": "UTF-16", "{\x00\"\x00": "UTF-16 without", "\x00{\x00\"": "UTF-16 without",
		packed(t, packed(t, "{}")): "a gzip file inside", packed(t, "\xFF\xFE{\x00"): "UTF-16",
	} {
		name := filepath.Join(t.TempDir(), "jobs")
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open([]string{name}, nil)
		if e, ok := errors.AsType[*FormatError](err); !ok || !strings.HasPrefix(e.Is, is) || !strings.HasPrefix(err.Error(), name+" is "+is) {
			t.Errorf("%q: %v, want %s", data, err, is)
		}
		in, err := Open([]string{"-"}, strings.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(in, queue.Normal)
		r.Jobs(func(queue.Priority, queue.Job) bool { t.Errorf("%q gives a job", data); return true })
		if _, ok := errors.AsType[*FormatError](r.Err()); !ok || len(r.BadBefore(End)) > 0 {
			t.Errorf("%q on standard input: %v", data, r.Err())
		}
	}
	if _, err := Open([]string{t.TempDir()}, nil); err == nil || !strings.HasSuffix(err.Error(), ": is a directory") {
		t.Errorf("a directory: %v", err)
	}
}
