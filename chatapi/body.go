package chatapi

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// endPatience is how long the end of a body is waited for when the JSON value in it is
// complete: some servers leave the last chunk out, or announce a wrong length.
// It decides only whether the connection can be used again.
const endPatience = 250 * time.Millisecond

// lenient are the options by which a server's JSON is read: whether text is well-formed
// and names are unique is looked at where it matters.
var lenient = json.JoinOptions(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))

// readBody reads at most so many bytes, to the end unless that does not come although
// a JSON value is complete: then patience is how long it is waited for. The error is that
// of a body that broke off.
func readBody(resp *http.Response, most int, patience time.Duration) ([]byte, error) {
	size := 512
	if resp.ContentLength >= 0 && resp.ContentLength < int64(most) {
		// One byte further than the end: an HTTP/2 stream that is closed before it is seen is reset.
		size = int(resp.ContentLength) + 1
	}
	text := make([]byte, 0, size)
	var waiting *time.Timer
	for {
		n, err := resp.Body.Read(text[len(text):min(cap(text), most)])
		text = text[:len(text)+n]
		switch {
		case err == io.EOF:
			return text, nil
		case err != nil:
			return text, err
		case len(text) == most:
			return text, fmt.Errorf("it is longer than %d bytes", most)
		case len(text) == cap(text):
			text = append(text, 0)[:len(text)]
		}
		if waiting == nil && int64(len(text)) != resp.ContentLength && complete(text) {
			waiting = time.AfterFunc(patience, func() { _ = resp.Body.Close() }) // ends the Read
			defer waiting.Stop()
		}
	}
}

// complete reports whether text is an object from its first to its last brace.
func complete(text []byte) bool {
	text = bytes.TrimSpace(trimBOM(text))
	if !bytes.HasSuffix(text, []byte("}")) {
		return false
	}
	return jsontext.Value(text).IsValid(lenient)
}

// decoded takes off a compression that nobody asked for, by what the bytes are: the
// header may be missing or wrong. What cannot be decoded is returned as it is.
func decoded(h http.Header, text []byte, most int) []byte {
	var from io.Reader
	var err error
	switch {
	case bytes.HasPrefix(text, []byte{0x1f, 0x8b}): // RFC 1952 section 2.3.1
		from, err = gzip.NewReader(bytes.NewReader(text))
	case !strings.Contains(strings.ToLower(h.Get("Content-Encoding")), "deflate"), bytes.HasPrefix(text, []byte("{")):
		return text
	case len(text) > 1 && text[0]&0x0f == 8 && (int(text[0])<<8|int(text[1]))%31 == 0: // RFC 1950 section 2.2
		from, err = zlib.NewReader(bytes.NewReader(text))
	default: // some send it without that header
		from = flate.NewReader(bytes.NewReader(text))
	}
	if err != nil {
		return text
	}
	plain, err := io.ReadAll(io.LimitReader(from, int64(most)))
	if err != nil && len(plain) == 0 {
		return text
	}
	return plain // of one that broke off, as much as there is
}

func trimBOM(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) }

// inUTF8 returns text without its byte order mark, and from UTF-16 if the mark says so.
func inUTF8(text []byte) []byte {
	var order binary.ByteOrder = binary.BigEndian
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case !bytes.HasPrefix(text, []byte("\xfe\xff")):
		return trimBOM(text)
	}
	var units []uint16
	for text = text[2:]; len(text) > 1; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	return []byte(string(utf16.Decode(units)))
}

// isPage reports whether a body is HTML or XML, rather than an answer of the API.
func isPage(h http.Header, body []byte) bool {
	// Blanks, and the byte order marks and zero bytes of UTF-8 and UTF-16.
	body = bytes.TrimLeftFunc(trimBOM(body), func(r rune) bool { return strings.ContainsRune(" \t\r\n\x00\uFEFF\uFFFD", r) })
	switch {
	case len(body) == 0:
		return false
	case body[0] == '<':
		return true
	case body[0] == '{', body[0] == '[':
		return false // whatever it is called
	}
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "text/html" || strings.HasSuffix(kind, "xml")
}

// endSoon sees to it that reading a failure's body ends soon: its status has already said what matters.
func endSoon(resp *http.Response, patience time.Duration) (stop func() bool) {
	return time.AfterFunc(4*patience, func() { _ = resp.Body.Close() }).Stop
}
