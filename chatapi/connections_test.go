package chatapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/chatapi/h2test"
)

// What the server did not look at is sent again at once; what it may have looked at is not.
func TestUnprocessedCallIsRepeated(t *testing.T) {
	always := func(frames func(stream uint32) []byte, hangUp bool) h2test.Answer {
		return func(stream uint32, whole bool) ([]byte, bool) {
			if !whole {
				return nil, false
			}
			return frames(stream), hangUp
		}
	}
	refuseEarly := func(stream uint32, whole bool) ([]byte, bool) {
		if whole {
			return nil, false
		}
		return h2test.Reset(stream, h2test.RefusedStream), false
	}
	goEarly := func(uint32, bool) ([]byte, bool) { return h2test.GoAway(0, h2test.NoError), false }
	huge := strings.Repeat("x", 300<<10) // more than a flow-control window
	large := strings.Repeat("x", 20<<10) // one flow-control window takes it
	for name, c := range map[string]struct {
		odd     int32 // connections
		how     h2test.Answer
		fails   bool
		maybe   bool
		message string
	}{
		"GOAWAY before the stream":  {odd: 1, how: always(func(uint32) []byte { return h2test.GoAway(0, h2test.NoError) }, false)},
		"the same, then closed":     {odd: 1, how: always(func(uint32) []byte { return h2test.GoAway(0, h2test.NoError) }, true)},
		"the same with a reason":    {odd: 1, how: always(func(uint32) []byte { return h2test.GoAway(0, h2test.InternalError) }, true)},
		"the same for a large call": {odd: 1, how: always(func(uint32) []byte { return h2test.GoAway(0, h2test.NoError) }, false), message: large},
		"on three connections":      {odd: 3, how: always(func(uint32) []byte { return h2test.GoAway(0, h2test.NoError) }, true)},
		"on every connection":       {odd: 99, how: always(func(uint32) []byte { return h2test.GoAway(0, h2test.NoError) }, true), fails: true},
		"a goodbye in two steps": {odd: 1, how: always(func(uint32) []byte {
			return append(h2test.GoAway(1<<31-1, h2test.NoError), h2test.GoAway(0, h2test.NoError)...)
		}, true)},
		"REFUSED_STREAM":                        {odd: 1, how: always(func(s uint32) []byte { return h2test.Reset(s, h2test.RefusedStream) }, false)},
		"REFUSED_STREAM for a large call":       {odd: 1, how: always(func(s uint32) []byte { return h2test.Reset(s, h2test.RefusedStream) }, false), message: large},
		"REFUSED_STREAM at once":                {odd: 1, how: refuseEarly},
		"REFUSED_STREAM at once, huge call":     {odd: 1, how: refuseEarly, message: huge},
		"REFUSED_STREAM always, huge call":      {odd: 99, how: refuseEarly, message: huge, fails: true},
		"GOAWAY at once":                        {odd: 1, how: goEarly},
		"the same for a huge call":              {odd: 1, how: goEarly, message: huge},
		"REFUSED_STREAM always":                 {odd: 99, how: always(func(s uint32) []byte { return h2test.Reset(s, h2test.RefusedStream) }, false), fails: true},
		"GOAWAY behind the stream, then closed": {odd: 1, how: always(func(s uint32) []byte { return h2test.GoAway(s, h2test.NoError) }, true), fails: true, maybe: true},
		"reset with PROTOCOL_ERROR":             {odd: 1, how: always(func(s uint32) []byte { return h2test.Reset(s, h2test.ProtocolError) }, false), fails: true, maybe: true},
		"reset with INTERNAL_ERROR":             {odd: 1, how: always(func(s uint32) []byte { return h2test.Reset(s, h2test.InternalError) }, false), fails: true, maybe: true},
		"reset with NO_ERROR":                   {odd: 1, how: always(func(s uint32) []byte { return h2test.Reset(s, h2test.NoError) }, false), fails: true, maybe: true},
		"closed":                                {odd: 1, how: always(func(uint32) []byte { return nil }, true), fails: true, maybe: true},
	} {
		t.Run(name, func(t *testing.T) {
			api := chatapitest.New(chatapitest.Config{ClientSecret: testSecret})
			defer api.Close()
			server := h2test.Start(api, c.odd, c.how)
			defer server.Close()
			plain := httptest.NewServer(api) // tokens
			defer plain.Close()
			client := newClient(t, server.URL+chatapitest.ChatPath, plain.URL+chatapitest.TokenPath, 20*time.Second)
			trustServer(client, server.Server)
			n := notification("w-1")
			n.Message += c.message
			if c.fails {
				failure := sendFails(t, client, t.Context(), n)
				if failure.Kind != Temporary || failure.MayBeDelivered != c.maybe {
					t.Errorf("%v, want temporary, may be delivered: %v", failure, c.maybe)
				}
				if got := server.Opened(); got > mostRepeats+1 {
					t.Errorf("%d connections", got)
				}
				if c.maybe && api.Counts().Calls > 0 {
					t.Error("a call that may have been looked at is made again")
				}
				return
			}
			if _, err := client.Send(t.Context(), n); err != nil || api.Counts().Delivered != 1 {
				t.Errorf("%v; delivered %d times, want once", err, api.Counts().Delivered)
			}
		})
	}
}

// A connection that is closed before anything was written to it costs nothing.
func TestClosedBeforeTheCall(t *testing.T) {
	api, c := startAPI(t, chatapitest.Config{})
	if err := c.CheckToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	var dialed atomic.Int32
	bad := int32(2)
	adjust(c, func(tr *http.Transport) {
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil && dialed.Add(1) <= bad {
				conn.Close()
			}
			return &countedConn{Conn: conn}, err
		}
	})
	if _, err := c.Send(t.Context(), notification("w-1")); err != nil || api.Counts().Delivered != 1 {
		t.Errorf("%v; delivered %d times", err, api.Counts().Delivered)
	}
	bad = 1000
	c.http.CloseIdleConnections()
	adjust(c, func(*http.Transport) {})
	before := dialed.Load()
	if failure := sendFails(t, c, t.Context(), notification("w-2")); failure.MayBeDelivered || dialed.Load()-before > mostRepeats+1 {
		t.Errorf("%v after %d connections", failure, dialed.Load()-before)
	}
}

func TestConnectionsAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		c := &connections{open: func() *http.Transport { made++; return &http.Transport{} }}
		c.take()
		time.Sleep(longestAge - spreadAge)
		c.take()
		if made != 1 {
			t.Errorf("replaced %d times before their age", made-1)
		}
		time.Sleep(spreadAge)
		c.take()
		c.take()
		if synctest.Wait(); made != 2 {
			t.Errorf("made %d times after their age, want twice", made)
		}
		repeat := func(n int, v evidence) {
			for range n {
				c.learn(c.take(), "api", v)
			}
			synctest.Wait()
		}
		repeat(10, fails)
		if made != 2 {
			t.Error("replaced although they are new")
		}
		time.Sleep(shortestAge)
		c.learn(c.take(), "api", works)
		repeat(mostFailures-1, fails)
		c.learn(c.take(), "api", tellsNothing)
		c.learn(c.take(), "tokens", fails)
		if made != 2 {
			t.Error("replaced after too few failures of one host")
		}
		c.learn(c.take(), "tokens", works)
		if repeat(1, fails); made != 3 {
			t.Errorf("made %d times after %d failures, want 3", made, mostFailures)
		}
		old := c.take()
		c.replace(old)
		c.replace(old)
		if made != 4 {
			t.Errorf("made %d times, want 4", made)
		}
	})
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		failure *Error
		want    evidence
	}{
		{nil, works}, {&Error{Kind: Refused, Status: 400}, works}, {&Error{Kind: Credential, Status: 403}, works}, {&Error{Kind: Limited, Status: 429}, works},
		{&Error{Kind: Temporary, Err: context.Canceled}, tellsNothing}, {&Error{Kind: Temporary, Err: context.DeadlineExceeded}, fails},
		{&Error{Kind: Temporary}, fails}, {&Error{Kind: Limited, Status: 503}, fails}, {&Error{Kind: Refused, Status: 421}, fails},
		{&Error{Kind: Misconfigured, Status: 404}, fails}, {&Error{Kind: Unreadable, Status: 200, Err: errors.New("odd")}, fails},
	} {
		if got := judge(c.failure); got != c.want {
			t.Errorf("%v: %v, want %v", c.failure, got, c.want)
		}
	}
}

// authority makes the certificate of an authority and one for 127.0.0.1.
func authority(t *testing.T, name string) (caPEM []byte, leaf tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// An authority that was added to the file counts for new connections; a file that holds none changes nothing.
func TestAuthoritiesAreReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	first, _ := authority(t, "first")
	second, leaf := authority(t, "second")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	api := chatapitest.New(chatapitest.Config{ClientSecret: testSecret})
	server := httptest.NewUnstartedServer(api)
	server.Config.ErrorLog = nil
	server.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}}
	server.StartTLS()
	defer server.Close()
	c := newClient(t, server.URL+chatapitest.ChatPath, server.URL+chatapitest.TokenPath, 5*time.Second)
	for _, step := range []struct {
		text []byte
		ok   bool
	}{{first, false}, {[]byte("no certificate"), false}, {second, true}, {nil, true}, {first, false}} {
		write(step.text)
		c.conns.replace(c.conns.take())
		resp, err := c.http.Get(server.URL)
		if err == nil {
			resp.Body.Close()
		} else if !strings.Contains(err.Error(), "unknown authority") {
			t.Error(err)
		}
		if (err == nil) != step.ok {
			t.Errorf("with %.30q in the file: %v, want success: %v", step.text, err, step.ok)
		}
	}
}

// Calls and token requests each end connections that seem to lead to the wrong place, and not by other failures.
func TestFailuresEndConnections(t *testing.T) {
	for status, ends := range map[int]bool{500: true, 503: true, 421: true, 404: true, 400: false, 403: false, 429: false} {
		c := against(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if err := c.CheckToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		g := c.conns.take()
		c.conns.mu.Lock()
		g.made = g.made.Add(-shortestAge)
		c.conns.mu.Unlock()
		for range mostFailures {
			_, _ = c.Send(t.Context(), notification("w-1"))
		}
		c.conns.mu.Lock()
		if g.ending != ends {
			t.Errorf("after calls answered %d: ending %v, want %v", status, g.ending, ends)
		}
		c.conns.mu.Unlock()
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer server.Close()
	c := newClient(t, server.URL+"/chat", server.URL+"/token", 5*time.Second)
	g := c.conns.take()
	g.made = g.made.Add(-shortestAge)
	for range mostFailures {
		if resp, err := c.http.Get(server.URL); err == nil {
			resp.Body.Close()
		}
	}
	c.conns.mu.Lock()
	defer c.conns.mu.Unlock()
	if !g.ending {
		t.Error("token requests that fail end no connections")
	}
}
