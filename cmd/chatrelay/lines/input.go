// Package lines publishes jobs from the lines of files, and remembers which line each came from.
//
//	Files ──▶ Reader.Jobs ──▶ a publisher ──▶ receipts, in the same order ──▶ Reader.Place
//	               └ lines that are no job ─────────────────────────────────▶ Reader.BadBefore
package lines

import (
	"bufio"
	"io"
	"os"
)

// Input is some files, one after another.
type Input struct {
	// Size is that of all files in bytes, unpacked; -1 when it is not known.
	Size  int64
	files []*file
}

type file struct {
	name   string
	r      io.ReadCloser
	text   *bufio.Reader // nil until it is known what r holds
	packed bool
}

// Open opens files for reading. The name - stands for stdin. The error is a [*FormatError] for a file that
// holds something else than lines; of stdin that is known only when it is read, because its first line may be
// long in coming.
func Open(names []string, stdin io.Reader) (*Input, error) {
	in := &Input{}
	for _, name := range names {
		if name == "-" {
			in.files = append(in.files, &file{name: "standard input", r: io.NopCloser(stdin)})
			in.Size = -1
			continue
		}
		r, err := os.Open(name)
		if err != nil {
			in.Close()
			return nil, err
		}
		f := &file{name: name, r: r}
		in.files = append(in.files, f)
		if err := f.identify(); err != nil {
			in.Close()
			return nil, err
		}
		if info, err := r.Stat(); err == nil && info.Mode().IsRegular() && in.Size >= 0 && !f.packed {
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
