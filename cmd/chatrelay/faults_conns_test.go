//go:build faults

package main

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/chatapi/h2test"
)

// over makes the workers that are started call the API at another address, by TLS.
func (s *system) over(url string, cert []byte) {
	s.t.Helper()
	file := filepath.Join(s.dir, "ca.pem")
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.extra = []string{"SSL_CERT_FILE=" + file, "CHATRELAY_API_URL=" + url + chatapitest.ChatPath}
}

// door is an address behind which one server can take another's place, for new connections only, as
// when a name has moved.
func door(t *testing.T, server string) (addr string, move func(server string)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var target atomic.Value
	target.Store(server)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target.Load().(string))
			if err != nil {
				in.Close()
				continue
			}
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				to.Close()
				from.Close()
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
	return l.Addr().String(), func(server string) { target.Store(server) }
}

func startHTTP2(t *testing.T, h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// movedAddress lets the name of the API move: the server at the old address keeps its connections, and
// answers 503.
func movedAddress(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 10 * time.Millisecond})
	var moved atomic.Bool
	var late, proto atomic.Int32
	old := startHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto.Store(int32(r.ProtoMajor))
		if moved.Load() {
			late.Add(1)
			http.Error(w, "not here", http.StatusServiceUnavailable)
			return
		}
		s.api.ServeHTTP(w, r)
	}))
	var atNew atomic.Int32
	next := startHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		atNew.Add(1)
		s.api.ServeHTTP(w, r)
	}))
	addr, move := door(t, old.Listener.Addr().String())
	s.over("https://"+addr, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old.Certificate().Raw}))
	s.worker()
	before := newLoad("before", 300, 1, 3, 300)
	before.publish(s)
	s.drained(patience)
	move(next.Listener.Addr().String())
	moved.Store(true)
	at := time.Now()
	after := newLoad("after", 300, 1, 3, 300)
	after.publish(s)
	s.drained(patience)
	took := time.Since(at)
	got := f.account(s, before, after)
	f.add("%d calls at the old address after the move, %d at the new one; the last recipient %.1f s after the move", late.Load(), atNew.Load(), took.Seconds())
	if got.repeated > 0 || atNew.Load() == 0 || proto.Load() != 2 {
		t.Errorf("%d repeated, %d calls at the new address, by HTTP/%d", got.repeated, atNew.Load(), proto.Load())
	}
	f.bound(took <= 15*time.Second, "all delivered within 15 s of the move")
}

// goodbyes lets a server say on its first connections that it does not look at calls.
func goodbyes(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 10 * time.Millisecond})
	var unprocessed atomic.Int32
	server := h2test.Start(s.api, 2, func(stream uint32, whole bool) ([]byte, bool) {
		if !whole {
			return nil, false
		}
		if unprocessed.Add(1)%2 == 0 {
			return h2test.Reset(stream, h2test.RefusedStream), false
		}
		return h2test.GoAway(0, h2test.NoError), false
	})
	t.Cleanup(server.Close)
	s.over(server.URL, server.CertPEM())
	p := s.worker("--on-ambiguous", "bury")
	l := newLoad("goodbye", 600, 1, 3, 600)
	l.publish(s)
	s.drained(patience)
	got := f.account(s, l)
	f.add("%d calls not looked at on %d connections", unprocessed.Load(), server.Opened())
	if got.repeated > 0 || unprocessed.Load() == 0 {
		t.Errorf("%d repeated; %d calls were not looked at", got.repeated, unprocessed.Load())
	}
	if log := p.stderr.String(); strings.Contains(log, "gate closed") {
		t.Errorf("a gate closed:\n%s", firstMatch(log, `.*gate closed.*`))
	}
}

// logReaderGone closes the pipe that a worker logs to, while it works.
func logReaderGone(t *testing.T, f *figures) {
	s := startSystem(t, chatapitest.Config{Latency: 10 * time.Millisecond})
	p, log, _ := s.workerTo()
	before, after := newLoad("before", 500, 1, 3, 500), newLoad("after", 1500, 1, 3, 1500)
	before.publish(s)
	s.calls(100)
	log.Close()
	after.publish(s)
	s.drained(patience)
	code := s.stop(p, sigterm)
	got := f.account(s, before, after)
	f.add("exit code %d after SIGTERM", code)
	if code != 0 || got.repeated > 0 {
		t.Errorf("exit code %d, %d repeated", code, got.repeated)
	}
}
