// Package chatapitest is a Chat API with its token endpoint, for tests, local
// runs and benchmarks. It follows the documentation of the API to the letter,
// remembers what it delivered to whom, and can be scripted to fail in every way that matters to a client.
//
//	token request ─▶ token
//	call ─▶ down? ─▶ method, token, type ─▶ schema ─▶ project ─▶ fault? ─▶ deliver ─▶ latency ─▶ reply
//
// The document describes the 200 reply only. What the other replies look like is
// this package's choice, and said so where it is made.
package chatapitest

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ChatPath is the path of the call as in the documented example. The same path with a trailing slash is served too.
	ChatPath = "/mini-app-runtime/v1/chat"

	// TokenPath is the path of the token endpoint.
	TokenPath = "/auth/realms/woven/protocol/openid-connect/token"

	// DefaultClientID is accepted when Config names no other.
	DefaultClientID = "chatrelay-dev"

	// DefaultClientSecret goes with it.
	DefaultClientSecret = "dev-secret"

	// DefaultTokenLifetime is how long a token serves when Config does not say:
	// the default of Keycloak, which the API names as its token server.
	DefaultTokenLifetime = 5 * time.Minute
)

// Config says how the server behaves. The zero value is a server that works.
type Config struct {
	// ClientID and ClientSecret are the credential that gets tokens. Zero:
	// [DefaultClientID], [DefaultClientSecret].
	ClientID, ClientSecret string

	// Credentials are further ones: client id to secret.
	Credentials map[string]string

	// Projects says whose a project is: its id to the one client id that may call
	// for it. The calls of others are answered 403, which is this package's choice.
	// Anybody may call for a project that is not named.
	Projects map[string]string

	// TokenLifetime is how long a token serves. It is announced in whole seconds,
	// at least one. Zero: [DefaultTokenLifetime].
	TokenLifetime time.Duration

	// MaxRecipients is the most recipients in one call; a call with more is
	// answered 400. Zero: no bound, as the document names none.
	MaxRecipients int

	// Latency is how long a call takes from its arrival to its reply, on average: timers are late
	// by half a millisecond or so, and that is made up for.
	Latency time.Duration

	// Forget makes the server count only: [Server.Calls], [Server.Told],
	// [Server.Deliveries] and [Server.Repeated] stay empty. For benchmarks, whose
	// memory would fill up.
	Forget bool

	// OnCall, unless nil, is called with every call just before its reply leaves
	// (or does not). It runs on the goroutine of the call, so several may run at
	// once, and the reply waits for it.
	OnCall func(Call)
}

// Server is a Chat API and its token endpoint. It is an [http.Handler], safe for
// concurrent use.
type Server struct {
	cfg     Config
	base    string // "http://host:port", empty unless started
	http    *http.Server
	closed  chan struct{}
	closing sync.Once

	mu          sync.Mutex
	tokens      map[string]grant
	tokenStatus int                      // 0: tokens are issued
	tokenDelay  map[string]time.Duration // by client; "" for all
	down        int                      // 0: calls are served
	rejected    map[string]string        // recipient to reason
	faults      []*Fault
	delivered   map[Delivery]int // how often
	calls       []Call
	counts      Counts
	inFlight    int

	late atomic.Int64 // nanoseconds by which replies are later than Latency asks, lately
}

// New returns a server to be mounted where the caller likes.
func New(cfg Config) *Server {
	if cfg.ClientID == "" {
		cfg.ClientID = DefaultClientID
	}
	if cfg.ClientSecret == "" {
		cfg.ClientSecret = DefaultClientSecret
	}
	if cfg.TokenLifetime == 0 {
		cfg.TokenLifetime = DefaultTokenLifetime
	}
	cfg.Credentials = maps.Clone(cfg.Credentials)
	if cfg.Credentials == nil {
		cfg.Credentials = make(map[string]string)
	}
	cfg.Credentials[cfg.ClientID] = cfg.ClientSecret
	return &Server{
		cfg:        cfg,
		closed:     make(chan struct{}),
		tokens:     make(map[string]grant),
		tokenDelay: make(map[string]time.Duration),
		rejected:   make(map[string]string),
		delivered:  make(map[Delivery]int),
		counts:     Counts{ByStatus: make(map[int]int)},
	}
}

// Start returns a server that listens on a free loopback port, plain HTTP. It
// panics when there is none, as a test or a local run cannot go on without.
func Start(cfg Config) *Server {
	s := New(cfg)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("chatapitest: listen on a loopback port: %v", err))
	}
	s.base = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(listener) }()
	return s
}

// ChatURL returns the address of the call. Empty unless the server was started.
func (s *Server) ChatURL() string { return s.address(ChatPath) }

// TokenURL returns the address of the token endpoint. Empty unless the server was
// started.
func (s *Server) TokenURL() string { return s.address(TokenPath) }

func (s *Server) address(path string) string {
	if s.base == "" {
		return ""
	}
	return s.base + path
}

// Close lets go of the calls that hang or wait, and, if the server was started,
// closes its port and connections. What was recorded can still be read.
func (s *Server) Close() {
	s.closing.Do(func() {
		close(s.closed)
		if s.http != nil {
			_ = s.http.Close()
		}
	})
}

// ServeHTTP serves the two paths; any other is 404.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case ChatPath, ChatPath + "/":
		s.serveChat(w, r)
	case TokenPath:
		s.serveToken(w, r)
	default:
		writeError(w, http.StatusNotFound, "there is nothing at this path")
	}
}

// delay waits until a call that arrived at some time is to be answered. It returns
// false when the client left or the server was closed before.
func (s *Server) delay(r *http.Request, arrived time.Time) bool {
	if s.cfg.Latency <= 0 {
		return true
	}
	ok := s.wait(r, s.cfg.Latency-time.Since(arrived)-time.Duration(s.late.Load()))
	const share = 64 // of each new lateness in what is made up for
	late := int64(time.Since(arrived) - s.cfg.Latency)
	s.late.Store(max(0, s.late.Load()+late/share)) // one store may be lost to another
	return ok
}

// wait returns false when the client left or the server was closed before d
// passed.
func (s *Server) wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-s.closed:
	}
	return false
}
