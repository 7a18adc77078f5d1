// Package h2test is an HTTP/2 server over TLS that says goodbye in ways that net/http's own does not:
// in the middle of calls, or by frames that a test writes.
package h2test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

// Frame types and flags of RFC 9113 section 6.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0, 1, 3, 4, 7

	endStream = 1
)

// Error codes of RFC 9113 section 7.
const (
	NoError       uint32 = 0
	ProtocolError uint32 = 1
	InternalError uint32 = 2
	RefusedStream uint32 = 7
)

// Answer says what is written instead of a reply, and whether the connection is closed then. It is
// asked when a call on a stream begins, and when it has arrived in full.
type Answer func(stream uint32, whole bool) (frames []byte, hangUp bool)

// Server is the server. [httptest.Server.Client] trusts it; URL is its address.
type Server struct {
	*httptest.Server
	opened atomic.Int32
	inner  *http.Server
}

// Start serves handler, but answers the calls on the first so many connections with frames.
// A connection counts when it gets a call.
func Start(handler http.Handler, connections int32, how Answer) *Server {
	s := &Server{Server: httptest.NewUnstartedServer(handler), inner: &http.Server{Handler: handler, Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute}}
	s.inner.Protocols.SetUnencryptedHTTP2(true)
	decrypted := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	go func() { _ = s.inner.Serve(decrypted) }()
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{NextProtos: []string{"h2"}}
	s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) {
			begun, err := untilCall(c)
			if err != nil {
				return
			}
			from := io.MultiReader(bytes.NewReader(begun), c)
			if s.opened.Add(1) <= connections {
				answer(c, from, how)
				return
			}
			served := &conn{Conn: c, from: from, closed: make(chan struct{})}
			select {
			case decrypted.conns <- served:
				<-served.closed
			case <-decrypted.closed:
			}
		},
	}
	s.StartTLS()
	return s
}

// Close ends the server and its connections.
func (s *Server) Close() {
	_ = s.inner.Close()
	s.Server.CloseClientConnections()
	s.Server.Close()
}

// Opened is how many connections got a call.
func (s *Server) Opened() int { return int(s.opened.Load()) }

// CertPEM is the certificate that a client must trust.
func (s *Server) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// GoAway is the frame by which a server says that it processes no stream beyond last.
func GoAway(last, code uint32) []byte {
	return frame(frameGoAway, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code)...)
}

// Reset is the frame that ends a stream.
func Reset(stream, code uint32) []byte {
	return frame(frameReset, stream, binary.BigEndian.AppendUint32(nil, code)...)
}

// frame has a short payload and no flags.
func frame(kind byte, stream uint32, payload ...byte) []byte {
	f := binary.BigEndian.AppendUint32([]byte{0, 0, byte(len(payload)), kind, 0}, stream)
	return append(f, payload...)
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// untilCall reads until a call begins, and returns what it read.
func untilCall(c io.Reader) ([]byte, error) {
	read := make([]byte, len(preface))
	if _, err := io.ReadFull(c, read); err != nil {
		return nil, err
	}
	for {
		head, payload, err := readFrame(c)
		if err != nil {
			return nil, err
		}
		if read = append(append(read, head...), payload...); head[3] == frameHeaders {
			return read, nil
		}
	}
}

func readFrame(c io.Reader) (head, payload []byte, err error) {
	head = make([]byte, 9)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(c, payload)
	return head, payload, err
}

// answer answers calls until the connection ends.
func answer(c io.Writer, from io.Reader, how Answer) {
	if _, err := io.ReadFull(from, make([]byte, len(preface))); err != nil {
		return
	}
	_, _ = c.Write(frame(frameSettings, 0))
	for {
		head, _, err := readFrame(from)
		if err != nil {
			return
		}
		whole := head[3] == frameData && head[4]&endStream != 0
		if head[3] != frameHeaders && !whole {
			continue
		}
		frames, hangUp := how(binary.BigEndian.Uint32(head[5:]), whole)
		_, _ = c.Write(frames) // the client may be gone
		if hangUp {
			return
		}
	}
}

// listener hands decrypted connections to a server.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// conn was read from already, and tells when it is closed.
type conn struct {
	net.Conn
	from   io.Reader
	closed chan struct{}
	once   sync.Once
}

func (c *conn) Read(p []byte) (int, error) { return c.from.Read(p) }

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
