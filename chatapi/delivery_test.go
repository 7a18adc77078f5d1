package chatapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

func TestMayBeDelivered(t *testing.T) {
	large := strings.Repeat("x", 16<<20) // more than the buffers of a connection
	refused := func() string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		return "http://" + listener.Addr().String() + "/chat"
	}()
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	for name, tc := range map[string]struct {
		serve   func(net.Conn)
		url     string
		message string
		kind    Kind
		maybe   bool
		is      error
	}{
		"connection refused": {url: refused, kind: Temporary},
		"no such host":       {url: "https://chat.invalid/chat", kind: Temporary},
		"not TLS":            {serve: func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, url: "https", kind: Temporary},
		"closed while the call is written": {serve: func(c net.Conn) {
			io.ReadFull(c, make([]byte, 100))
			c.(*net.TCPConn).SetLinger(0)
		}, message: large, kind: Temporary},
		"hangs while the call is written": {serve: func(c net.Conn) { <-gone }, message: large, kind: Temporary, is: context.DeadlineExceeded},
		"read, then closed":               {serve: readCall, kind: Temporary, maybe: true},
		"read, then reset":                {serve: func(c net.Conn) { readCall(c); c.(*net.TCPConn).SetLinger(0) }, kind: Temporary, maybe: true},
		"read, then silent":               {serve: func(c net.Conn) { readCall(c); <-gone }, kind: Temporary, maybe: true, is: context.DeadlineExceeded},
		"read, then not HTTP":             {serve: func(c net.Conn) { readCall(c); io.WriteString(c, "hello\r\n\r\n") }, kind: Temporary, maybe: true},
		"reply cut in the middle": {serve: func(c net.Conn) {
			readCall(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"success\":true,")
		}, kind: Unreadable, maybe: true, is: io.ErrUnexpectedEOF},
		"reply stops in the middle": {serve: func(c net.Conn) {
			readCall(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"success\":true,")
			<-gone
		}, kind: Unreadable, maybe: true, is: context.DeadlineExceeded},
		"headers, and nothing more": {serve: func(c net.Conn) {
			readCall(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
			<-gone
		}, kind: Unreadable, maybe: true, is: context.DeadlineExceeded},
		"failure's body cut": {serve: func(c net.Conn) {
			readCall(c)
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 99\r\n\r\nbad")
		}, kind: Refused},
	} {
		t.Run(name, func(t *testing.T) {
			url := tc.url
			if tc.serve != nil {
				url = rawServer(t, tc.serve)
				if tc.url == "https" {
					url = "https" + strings.TrimPrefix(url, "http")
				}
			}
			tokens := chatapitest.Start(chatapitest.Config{ClientSecret: testSecret})
			defer tokens.Close()
			c := newClient(t, url, tokens.TokenURL(), 5*time.Second)
			if err := c.CheckToken(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.timeout = time.Second
			if !errors.Is(tc.is, context.DeadlineExceeded) {
				c.timeout = 10 * time.Second
			}
			n := notification("w-1")
			n.Message += tc.message
			failure := sendFails(t, c, t.Context(), n)
			if failure.Kind != tc.kind || failure.MayBeDelivered != tc.maybe {
				t.Errorf("%v; want %q, may be delivered %v", failure, tc.kind, tc.maybe)
			}
			if tc.is != nil && !errors.Is(failure, tc.is) {
				t.Errorf("%v is not %v", failure, tc.is)
			}
			if late := tc.maybe && errors.Is(tc.is, context.DeadlineExceeded); failure.TimedOut() != late || failure.MayConcernMessage() != (tc.kind == Refused) {
				t.Errorf("%v: timed out: %v; may concern the message: %v", failure, failure.TimedOut(), failure.MayConcernMessage())
			}
		})
	}
}

// A reply that is complete is not waited for to the end of the call's time, whatever its server leaves out.
func TestCompleteReplyWithoutItsEnd(t *testing.T) {
	const ok = `{"success":true,"data":{"errors":[{"user_ids":["w-1"],"reason":"user not found"}]},"info":"x"}`
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	chunk := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(ok), ok)
	length := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(ok)+20, ok)
	for name, serve := range map[string]func(net.Conn){
		"chunk, open":             func(c net.Conn) { io.WriteString(c, chunk); <-gone },
		"chunk, closed":           func(c net.Conn) { io.WriteString(c, chunk) },
		"chunk, reset":            func(c net.Conn) { io.WriteString(c, chunk); c.(*net.TCPConn).SetLinger(0) },
		"length, open":            func(c net.Conn) { io.WriteString(c, length); <-gone },
		"length, closed":          func(c net.Conn) { io.WriteString(c, length) },
		"neither, open":           func(c net.Conn) { io.WriteString(c, "\r\n"+ok+"\r\n"); <-gone },
		"trailing garbage, reset": func(c net.Conn) { io.WriteString(c, length+"..."); c.(*net.TCPConn).SetLinger(0) },
	} {
		t.Run(name, func(t *testing.T) {
			url := rawServer(t, func(c net.Conn) {
				readCall(c)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
				serve(c)
			})
			tokens := chatapitest.Start(chatapitest.Config{ClientSecret: testSecret})
			defer tokens.Close()
			reachedInTime(t, newClient(t, url, tokens.TokenURL(), time.Minute))
		})
	}
	t.Run("HTTP/2, open", func(t *testing.T) {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, ok)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		server.EnableHTTP2 = true
		server.StartTLS()
		defer server.Close()
		tokens := chatapitest.Start(chatapitest.Config{ClientSecret: testSecret})
		defer tokens.Close()
		c := newClient(t, server.URL, tokens.TokenURL(), time.Minute)
		trustServer(c, server)
		reachedInTime(t, c)
	})
}

// A call that the server does not look at has the time of one attempt, with all its repeats.
func TestRepeatsShareTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "http://127.0.0.1:1/chat", "http://127.0.0.1:1/token", 10*time.Second)
		c.tokens.token = "token"
		var dialed atomic.Int32
		adjust(c, func(tr *http.Transport) {
			tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
				dialed.Add(1)
				time.Sleep(6 * time.Second)
				conn, server := net.Pipe()
				server.Close()
				return &countedConn{Conn: conn}, conn.Close()
			}
		})
		began := time.Now()
		failure := sendFails(t, c, t.Context(), notification("w-1"))
		if took := time.Since(began); took != c.timeout || failure.MayBeDelivered || !errors.Is(failure, context.DeadlineExceeded) {
			t.Errorf("%v after %v", failure, took)
		}
		time.Sleep(time.Minute)
		if dialed.Load() != 2 {
			t.Errorf("%d connections, want 2", dialed.Load())
		}
	})
}

// The status of a failure is known before its body has ended.
func TestFailureWhoseBodyDoesNotEnd(t *testing.T) {
	for _, status := range []int{http.StatusFound, http.StatusBadRequest, http.StatusServiceUnavailable} {
		c := against(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			io.WriteString(w, "some words")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		c.timeout = time.Minute
		began := time.Now()
		failure := sendFails(t, c, t.Context(), notification("w-1"))
		if took := time.Since(began); failure.Status != status || took > c.timeout/2 || failure.Detail == "" {
			t.Errorf("%v after %v", failure, took)
		}
	}
}

// reachedInTime sends, and demands an answer about w-1 long before the client's minute is over.
func reachedInTime(t *testing.T, c *Client) {
	t.Helper()
	began := time.Now()
	report, err := c.Send(t.Context(), notification("w-1", "w-2"))
	if err != nil || len(report.Failures) != 1 || report.Doubt != "" {
		t.Fatalf("%+v, %v", report, err)
	}
	if took := time.Since(began); took > c.timeout/2 {
		t.Errorf("it took %v", took)
	}
}

// From the client's side this is a race with the server; only the kind is certain.
func TestAcceptedAndClosed(t *testing.T) {
	tokens := chatapitest.Start(chatapitest.Config{ClientSecret: testSecret})
	defer tokens.Close()
	c := newClient(t, rawServer(t, func(net.Conn) {}), tokens.TokenURL(), time.Second)
	if failure := sendFails(t, c, t.Context(), notification("w-1")); failure.Kind != Temporary {
		t.Errorf("%v, want temporary", failure)
	}
}

func TestCallerCancels(t *testing.T) {
	t.Run("before the token", func(t *testing.T) {
		api, c := startAPI(t, chatapitest.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		failure := sendFails(t, c, ctx, notification("w-1"))
		if failure.Kind != Temporary || failure.MayBeDelivered || !errors.Is(failure, context.Canceled) || api.Counts().Calls != 0 {
			t.Errorf("%v, want temporary, canceled, not delivered", failure)
		}
	})
	t.Run("while waiting for the reply", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		api, c := startAPI(t, chatapitest.Config{OnCall: func(chatapitest.Call) { cancel(errors.New("shutting down")) }})
		api.Script(chatapitest.Fault{Break: chatapitest.Hang})
		failure := sendFails(t, c, ctx, notification("w-1"))
		if failure.Kind != Temporary || !failure.MayBeDelivered || !errors.Is(failure, context.Canceled) {
			t.Errorf("%v, want temporary, canceled, maybe delivered", failure)
		}
	})
	t.Run("while reading the reply", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := against(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"success":`)
			http.NewResponseController(w).Flush()
			cancel()
			<-r.Context().Done()
		})
		failure := sendFails(t, c, ctx, notification("w-1"))
		if failure.Kind != Temporary || !failure.MayBeDelivered || !errors.Is(failure, context.Canceled) {
			t.Errorf("%v, want temporary, canceled, maybe delivered", failure)
		}
	})
}

// countConns counts the connections that a server accepts.
func countConns(server *httptest.Server) *atomic.Int32 {
	var opened atomic.Int32
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	return &opened
}

func TestConnectionIsReused(t *testing.T) {
	api := chatapitest.New(chatapitest.Config{ClientSecret: testSecret})
	server := httptest.NewUnstartedServer(api)
	opened := countConns(server)
	server.Start()
	defer server.Close()
	defer api.Close()
	c := newClient(t, server.URL+chatapitest.ChatPath, server.URL+chatapitest.TokenPath, time.Minute)
	c.endPatience = time.Minute // the machine may be slow
	for i := range 200 {
		if i%2 == 1 {
			status := []int{302, 400, 404, 429, 500, 503}[i%6]
			api.Script(chatapitest.Fault{Status: status, Body: strings.Repeat("why ", 5000), Header: map[string]string{"Location": "/x"}})
		}
		if _, err := c.Send(t.Context(), notification("w-1")); (err != nil) != (i%2 == 1) {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	// On a busy machine net/http drops one now and then: maxWriteWaitBeforeConnReuse in its transport.go.
	if opened.Load() > 10 {
		t.Errorf("%d connections for 200 calls, want 1", opened.Load())
	}
}

// deadConn fails once its writes are used up, as a connection does whose server
// is gone.
type deadConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c deadConn) Write(p []byte) (int, error) {
	if c.writes.Add(-1) < 0 {
		return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
	}
	return c.Conn.Write(p)
}

// A kept connection that turns out dead must cost neither a failure nor a second
// delivery; a body that cannot be written is a failure without delivery.
func TestDeadConnection(t *testing.T) {
	api, c := startAPI(t, chatapitest.Config{})
	if err := c.CheckToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.http.CloseIdleConnections()
	var dialed []*atomic.Int32
	var writes int32 = 1000
	adjust(c, func(t *http.Transport) {
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			left := new(atomic.Int32)
			left.Store(writes)
			dialed = append(dialed, left)
			return &countedConn{Conn: deadConn{conn, left}}, err
		}
	})
	for range 2 {
		if _, err := c.Send(t.Context(), notification("w-1")); err != nil {
			t.Fatal(err)
		}
		dialed[len(dialed)-1].Store(0)
	}
	if len(dialed) != 2 || api.Counts().Delivered != 2 {
		t.Errorf("%d connections, delivered %d times; want 2 and 2", len(dialed), api.Counts().Delivered)
	}
	large := notification("w-1")
	large.Message = strings.Repeat("x", 2*writeBuffer)
	for cut, n := range map[int32]Notification{0: notification("w-1"), 1: large} {
		dialed[len(dialed)-1].Store(0)
		writes = cut // nothing goes, or some of it
		failure := sendFails(t, c, t.Context(), n)
		if failure.Kind != Temporary || failure.MayBeDelivered || api.Counts().Delivered != 2 {
			t.Errorf("after %d writes: %v, want temporary and not delivered", cut, failure)
		}
	}
}

// Over HTTP/2 the transport would by itself repeat a call whose stream was reset.
func TestHTTP2CallIsNotRepeated(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("the call came by %s", r.Proto)
		}
		io.Copy(io.Discard, r.Body)
		calls.Add(1)
		panic(http.ErrAbortHandler)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	tokens := chatapitest.Start(chatapitest.Config{ClientSecret: testSecret})
	defer tokens.Close()
	c := newClient(t, server.URL, tokens.TokenURL(), 5*time.Second)
	trustServer(c, server)
	failure := sendFails(t, c, t.Context(), notification("w-1"))
	if failure.Kind != Temporary || !failure.MayBeDelivered || calls.Load() != 1 {
		t.Errorf("%d calls, %v; want one that may be delivered", calls.Load(), failure)
	}
}
