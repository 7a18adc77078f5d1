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
	"sync"
	"sync/atomic"
)

var errNotRepeated = errors.New("the server dropped the call after it was written, and it is not repeated")

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

	mu      sync.Mutex
	conn    net.Conn     // the connection of the current try
	current *atomic.Bool // whether the current try's body was taken
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
	}}
	if o.small() {
		trace.WroteHeaders = func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.current.Store(true)
		}
	}
	req := blank.WithContext(httptrace.WithClientTrace(ctx, &trace))
	req.Body, req.GetBody, req.ContentLength = o.open(), o.again, int64(len(o.body))
	return req
}

func (o *outgoing) small() bool { return len(o.body) <= writeBuffer-headerRoom }

func (o *outgoing) open() io.ReadCloser {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.current = new(atomic.Bool)
	if o.small() {
		return io.NopCloser(bytes.NewReader(o.body))
	}
	b := &bodyOnce{taken: o.current}
	b.Reset(o.body)
	return b
}

// again is the transport's wish to send the body once more by itself. Over
// HTTP/1 it wishes so for a POST only when the kept connection turned out dead
// before any byte was written (transport.go, shouldRetryRequest): that is safe,
// and happens whenever the server closes idle connections. Over HTTP/2 it also
// does when the server resets the stream (h2_bundle.go, http2canRetryError), even
// with PROTOCOL_ERROR, which does not promise that the call was not carried out.
func (o *outgoing) again() (io.ReadCloser, error) {
	if o.http2() && o.taken() {
		return nil, errNotRepeated
	}
	return o.open(), nil
}

// mayHaveArrived reports whether the server can have the whole request although
// the try ended with err.
func (o *outgoing) mayHaveArrived(err error) bool {
	if !o.taken() {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "write" && !o.http2() {
		// An HTTP/1 connection carries one call at a time, so it was our write
		// that failed. Over HTTP/2 it may have been another's.
		return false
	}
	return true
}

func (o *outgoing) taken() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.current.Load()
}

func (o *outgoing) http2() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	conn, ok := o.conn.(*tls.Conn)
	return ok && conn.ConnectionState().NegotiatedProtocol == "h2"
}
