// Package lines publishes jobs from the lines of files, and remembers which line each came from.
//
//	Files ──▶ Reader.Jobs ──▶ a publisher ──▶ receipts, in the same order ──▶ Reader.Place
//	               └ lines that are no job ─────────────────────────────────▶ Reader.BadBefore
package lines

import (
	"io"
	"os"
)

// Input is some files, one after another.
type Input struct {
	// Size is that of all files in bytes; -1 when it is not known.
	Size  int64
	files []file
}

type file struct {
	name string
	r    io.ReadCloser
}

// Open opens files for reading. The name - stands for stdin.
func Open(names []string, stdin io.Reader) (*Input, error) {
	in := &Input{}
	for _, name := range names {
		if name == "-" {
			in.files = append(in.files, file{"standard input", io.NopCloser(stdin)})
			in.Size = -1
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			in.Close()
			return nil, err
		}
		in.files = append(in.files, file{name, f})
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && in.Size >= 0 {
			in.Size += info.Size()
		} else {
			in.Size = -1
		}
	}
	return in, nil
}

// Close closes the files.
func (in *Input) Close() {
	for _, f := range in.files {
		_ = f.r.Close() // only read
	}
}
