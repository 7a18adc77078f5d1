package lines

import (
	"bufio"
	"errors"
	"fmt"
)

// maxLine bounds one line of input. A job of a million recipients has about 20 MB.
const maxLine = 64 << 20

var errLongLine = fmt.Errorf("the line is longer than %d MiB", maxLine>>20)

// readLine reads up to the end of a line, and how many bytes that were. Of a line that is too long
// it reads all and keeps nothing.
func readLine(r *bufio.Reader) (text []byte, n int64, err error) {
	for {
		chunk, err := r.ReadSlice('\n')
		n += int64(len(chunk))
		if n <= maxLine {
			text = append(text, chunk...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case n > maxLine:
			return nil, n, errLongLine
		}
		return text, n, err
	}
}
