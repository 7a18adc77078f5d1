package chatapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
)

// errUnprocessed says that the server did not look at a call that it got over HTTP/2.
var errUnprocessed = errors.New("the server closed the connection, or refused the stream, without looking at the call")

// outgoing is one request's body on its way, and knows whether the server can
// have all of it. net/http's own word, httptrace's WroteRequest, comes a moment
// after the last byte left, too late when the server is quick to hang up. So the
// question is asked earlier: has the transport taken the last byte?
//
// A body that fits into the connection's buffer together with the headers leaves
// with them in one write, so it is taken when they are. For such a body net/http
// must know its type: it writes the headers of others apart, which costs a system
// call and a packet more on either side.
type outgoing struct {
	body []byte

	taken atomic.Bool // by the transport

	mu     sync.Mutex
	conn   net.Conn // the connection that it goes over
	before int64    // what had been written to it before, in bytes
}

const (
	// writeBuffer is the buffer of a connection, in bytes. The bodies of nearly all
	// calls fit into it.
	writeBuffer = 64 << 10

	// headerRoom is what the headers take of it at most.
	headerRoom = 8 << 10
)

// bodyOnce is a large body for one try.
type bodyOnce struct {
	bytes.Reader
	taken *atomic.Bool
}

// Read marks the body as taken before the last bytes are handed out.
func (b *bodyOnce) Read(p []byte) (int, error) {
	if len(p) >= b.Len() {
		b.taken.Store(true)
	}
	return b.Reader.Read(p)
}

// WriteTo hides that of bytes.Reader, which would go past Read.
func (b *bodyOnce) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{b})
}

// Close is what http.Request.Body wants; nothing is held.
func (*bodyOnce) Close() error { return nil }

// request returns the POST that carries the body; blank is one without.
func (o *outgoing) request(ctx context.Context, blank *http.Request) *http.Request {
	trace := httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.conn = info.Conn
		if counted := counter(info.Conn); counted != nil {
			o.before = counted.written.Load()
		}
	}}
	if o.small() {
		trace.WroteHeaders = func() { o.taken.Store(true) }
	}
	req := blank.WithContext(httptrace.WithClientTrace(ctx, &trace))
	// Without GetBody, the transport leaves it to [Client.deliver] to send the body once more: it would do so up to
	// seven times with growing pauses, on the same connection if that still takes streams.
	req.Body, req.GetBody, req.ContentLength = o.open(), nil, int64(len(o.body))
	return req
}

func (o *outgoing) small() bool { return len(o.body) <= writeBuffer-headerRoom }

func (o *outgoing) open() io.ReadCloser {
	if o.small() {
		return io.NopCloser(bytes.NewReader(o.body))
	}
	b := &bodyOnce{taken: &o.taken}
	b.Reset(o.body)
	return b
}

// unprocessed reports whether the server certainly did not look at the call whose
// try ended with err, so that it can be made again at once.
func (o *outgoing) unprocessed(err error) bool {
	if refused(err) || refusedAtOnce(err) {
		return true
	}
	// Nothing was written to a connection that the server closed while it was idle, or
	// as soon as it was there; a caller's or a timer's end is no closed connection.
	n, ok := o.written()
	return ok && n <= closingAlert && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// refused reports whether the server said of the stream, or of the connection, that it did not process the
// stream (RFC 9113 section 8.7): net/http would repeat it, and says that it cannot without GetBody
// (net/http/internal/http2/transport.go, shouldRetryRequest). That of Go 1.26 would repeat as well what was
// reset with PROTOCOL_ERROR, of which RFC 9113 says no such thing. net/http says so as well of a POST for which there
// was no stream yet, because its connection was closing (net/http/transport.go, rewindBody). Neither error has a type
// of its own.
func refused(err error) bool {
	text, cannot := strings.CutPrefix(err.Error(), "http2: Transport: cannot retry err [")
	return cannot && !strings.Contains(text, "PROTOCOL_ERROR") || err.Error() == "net/http: cannot rewind body after connection loss"
}

// refusedAtOnce reports whether the server said goodbye to the first stream of a
// connection, giving a reason: net/http takes no such stream for one to be repeated,
// since the next connection may fare no better. It was not processed all the same:
// its number is beyond that of the last stream that was (RFC 9113 section 6.8). The
// error has no type of its own.
func refusedAtOnce(err error) bool {
	return strings.HasPrefix(err.Error(), "http2: Transport received GOAWAY from server ErrCode:")
}

// mayHaveArrived reports whether the server can have the whole request, and may
// have looked at it, although the try ended with err.
func (o *outgoing) mayHaveArrived(err error) bool {
	if !o.taken.Load() || o.unprocessed(err) {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "write" && !o.http2() {
		// An HTTP/1 connection carries one call at a time, so it was our write
		// that failed. Over HTTP/2 it may have been another's.
		return false
	}
	n, known := o.written()
	return !known || n >= int64(len(o.body)) // with the headers, it is more
}

// closingAlert is the most that TLS writes, in bytes, to say that it closes a
// connection. It is less than the headers of any call.
const closingAlert = 64

// written is how many bytes went over the connection of the try, since the try got it.
// An HTTP/2 connection carries other calls as well, so there it is not known; neither
// is it before there is a connection.
func (o *outgoing) written() (n int64, known bool) {
	if o.http2() {
		return 0, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	counted := counter(o.conn)
	if counted == nil {
		return 0, false
	}
	return counted.written.Load() - o.before, true
}

// counter returns the connection beneath conn that counts, or nil.
func counter(conn net.Conn) *countedConn {
	for {
		t, ok := conn.(*tls.Conn) // two of them, where the proxy is reached by TLS as well
		if !ok {
			counted, _ := conn.(*countedConn)
			return counted
		}
		conn = t.NetConn()
	}
}

// countedConn counts what was written to it, in bytes.
type countedConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

func (o *outgoing) http2() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	conn, ok := o.conn.(*tls.Conn)
	return ok && conn.ConnectionState().NegotiatedProtocol == "h2"
}
