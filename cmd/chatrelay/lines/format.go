package lines

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// foreign are beginnings of files that hold no lines of JSON as they are, however many jobs there are in them.
var foreign = []struct{ magic, name, remedy string }{
	{"\x28\xB5\x2F\xFD", "a zstd file", "unpack it: zstd -dc FILE | chatrelay publish -"},
	{"\xFD7zXZ\x00", "an xz file", "unpack it: xz -dc FILE | chatrelay publish -"},
	{"BZh", "a bzip2 file", "unpack it: bzip2 -dc FILE | chatrelay publish -"},
	{"\x04\x22\x4D\x18", "an lz4 file", "unpack it: lz4 -dc FILE | chatrelay publish -"},
	{"PK\x03\x04", "a zip file", "unpack it: unzip -p FILE | chatrelay publish -"},
	{"\x1F\x8B", "a gzip file inside a gzip file", "unpack it: gunzip -c FILE | gunzip -c | chatrelay publish -"},
	{"\xFF\xFE", "UTF-16", "write it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE | chatrelay publish -"},
	{"\xFE\xFF", "UTF-16", "write it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE | chatrelay publish -"},
	{"{\x00", "UTF-16 without a byte order mark", "write it as UTF-8: iconv -f UTF-16LE -t UTF-8 FILE | chatrelay publish -"},
	{"\x00{", "UTF-16 without a byte order mark", "write it as UTF-8: iconv -f UTF-16BE -t UTF-8 FILE | chatrelay publish -"},
}

const longestMagic = 6

// FormatError says that a file holds something else than lines of JSON.
type FormatError struct{ File, Is, Remedy string }

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s is %s, not lines of JSON; %s", e.File, e.Is, e.Remedy)
}

// identify finds out what a file holds, and unpacks it if that is gzip data (RFC 1952 section 2.3.1). It waits
// for the first bytes, and takes no more than it needs.
func (f *file) identify() error {
	text := bufio.NewReaderSize(f.r, 1<<16)
	begin, err := text.Peek(2)
	if f.packed = string(begin) == "\x1F\x8B"; f.packed {
		unpacked, err := gzip.NewReader(text)
		if err != nil {
			return f.readError(err)
		}
		text = bufio.NewReaderSize(unpacked, 1<<16)
	} else if err != nil && !errors.Is(err, io.EOF) {
		return f.readError(err)
	}
	begin, _ = text.Peek(2) // what is wrong with the rest is found by who reads it
	for _, kind := range foreign {
		if len(begin) == 2 && kind.magic[:2] == string(begin) {
			begin, _ = text.Peek(longestMagic)
			if bytes.HasPrefix(begin, []byte(kind.magic)) {
				return &FormatError{f.name, kind.name, kind.remedy}
			}
		}
	}
	f.text = text
	return nil
}

// readError says which file could not be read, and what that means if it is packed.
func (f *file) readError(err error) error {
	corrupt := new(flate.CorruptInputError)
	switch path, ok := errors.AsType[*fs.PathError](err); {
	case ok:
		err = path.Err // it would name the file once more
	case errors.Is(err, io.ErrUnexpectedEOF), f.packed && errors.Is(err, io.EOF):
		err = errors.New("the gzip data is cut off; get the whole file")
	case errors.Is(err, gzip.ErrChecksum), errors.As(err, corrupt), errors.Is(err, gzip.ErrHeader) && f.text == nil:
		err = errors.New("the gzip data is damaged; get the file once more")
	case errors.Is(err, gzip.ErrHeader):
		err = errors.New("what follows the gzip data is none")
	}
	return fmt.Errorf("read %s: %w", f.name, err)
}
