package chatapi

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

const (
	testProject = "0f8fad5b-d9cb-469f-a165-70867728950e"
	testSecret  = "s3cr3t/of+the client"
)

func notification(ids ...string) Notification {
	return Notification{ProjectID: testProject, Message: "Your coffee is ready.", WovenIDs: ids}
}

// startAPI starts a chatapitest server and a client for it.
func startAPI(t testing.TB, cfg chatapitest.Config) (*chatapitest.Server, *Client) {
	t.Helper()
	cfg.ClientSecret = testSecret
	api := chatapitest.Start(cfg)
	t.Cleanup(api.Close)
	return api, newClient(t, api.ChatURL(), api.TokenURL(), 5*time.Second)
}

func newClient(t testing.TB, chat, token string, timeout time.Duration) *Client {
	t.Helper()
	c, err := New(Config{URL: chat, TokenURL: token, ClientID: chatapitest.DefaultClientID,
		ClientSecret: testSecret, Timeout: timeout, Concurrency: 64})
	if err != nil {
		t.Fatal(err)
	}
	c.tokens.patience = time.Minute // the machine may be slow
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// adjust changes the transports of c, from the next call on.
func adjust(c *Client, change func(*http.Transport)) {
	made := c.conns.open
	c.conns.open = func() *http.Transport {
		t := made()
		change(t)
		return t
	}
	c.conns.replace(c.conns.take())
}

// trustServer lets c trust the certificate of a test's server.
func trustServer(c *Client, server *httptest.Server) {
	adjust(c, func(t *http.Transport) {
		t.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	})
}

// against returns a client whose calls go to handler, and its token too.
func against(t testing.TB, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	tokens := chatapitest.Start(chatapitest.Config{ClientSecret: testSecret})
	t.Cleanup(tokens.Close)
	return newClient(t, server.URL+"/chat", tokens.TokenURL(), 5*time.Second)
}

// sendFails sends n and demands an *Error.
func sendFails(t testing.TB, c *Client, ctx context.Context, n Notification) *Error {
	t.Helper()
	report, err := c.Send(ctx, n)
	var failure *Error
	if !errors.As(err, &failure) {
		t.Fatalf("Send = %+v, %v; want an *Error", report, err)
	}
	if len(failure.Detail) > maxDetail || strings.ContainsAny(failure.Detail, "\n\r\x00") {
		t.Errorf("Detail is not one short line: %q", failure.Detail)
	}
	if text := err.Error(); strings.Contains(text, testSecret) || strings.Contains(text, "s3cr3t%2F") {
		t.Errorf("the error holds the secret: %s", text)
	}
	return failure
}

// rawServer answers every connection with serve, below HTTP.
func rawServer(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return "http://" + listener.Addr().String() + "/chat"
}

// readCall reads one whole request.
func readCall(conn net.Conn) {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err == nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func deflated(text string, raw bool) string {
	var b bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&b)
	if raw {
		w, _ = flate.NewWriter(&b, flate.DefaultCompression)
	}
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// utf16LE writes ASCII as Windows does.
func utf16LE(text string) string {
	b := []byte("\xff\xfe")
	for _, c := range []byte(text) {
		b = append(b, c, 0)
	}
	return string(b)
}
