package chatapi

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// longestAge is how long connections are given further requests at most, and spreadAge how much
	// earlier that may end, so that the workers of an installation do not all connect at the same
	// moment. A name that has moved and certificates that were replaced take effect with new
	// connections only, and an HTTP/2 connection in use never ends by itself.
	longestAge = 2 * time.Minute
	spreadAge  = time.Minute

	// mostFailures in a row of a host, of a kind that a new connection may mend, end the connections
	// early, but not before they are as old as shortestAge: while nothing helps, that is the pace of
	// new ones.
	mostFailures = 3
	shortestAge  = 5 * time.Second
)

// connections carry requests. They are replaced, all at once, when they are old and when they seem
// to lead to the wrong place. Requests under way finish on the old ones, which are then closed.
type connections struct {
	open func() *http.Transport // makes one without connections; it reads files

	replacing sync.Mutex // held while a generation is made

	mu      sync.Mutex
	current *generation // nil: none yet
}

// generation is the connections of one age.
type generation struct {
	transport *http.Transport
	made, end time.Time
	failures  map[string]int // by host, since its last success
	ending    bool           // it is being replaced
}

// evidence is what a request says about the connection that carried it.
type evidence int

const (
	tellsNothing evidence = iota // the caller gave up
	works
	fails // and a new connection may mend it
)

// take returns the connections for the next request. Those that are to be replaced serve until then.
func (c *connections) take() *generation {
	c.mu.Lock()
	g := c.current
	if g != nil && time.Now().After(g.end) {
		c.end(g)
	}
	c.mu.Unlock()
	if g == nil {
		c.replace(nil)
		return c.take()
	}
	return g
}

// end has g replaced, beside the requests. It is called with the lock held.
func (c *connections) end(g *generation) {
	if !g.ending {
		g.ending = true
		go c.replace(g)
	}
}

// replace returns when g is not the current generation any more.
func (c *connections) replace(g *generation) {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	c.mu.Lock()
	done := c.current != g
	c.mu.Unlock()
	if done {
		return
	}
	now := time.Now()
	next := &generation{transport: c.open(), made: now, end: now.Add(longestAge - rand.N(spreadAge)), failures: map[string]int{}} //nolint:gosec // not a secret: when connections end
	c.mu.Lock()
	c.current = next
	c.mu.Unlock()
	if g != nil {
		// Those in use are closed when they come back, or, over HTTP/2, after IdleConnTimeout.
		g.transport.CloseIdleConnections()
	}
}

// learn takes down what a request to a host said about its connection.
func (c *connections) learn(g *generation, host string, v evidence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch v {
	case works:
		delete(g.failures, host)
	case fails:
		g.failures[host]++
		if g.failures[host] >= mostFailures && time.Since(g.made) >= shortestAge {
			c.end(g)
		}
	}
}

// RoundTrip carries a token request. (A call is judged by its whole reply: see [Client.attempt].)
func (c *connections) RoundTrip(req *http.Request) (*http.Response, error) {
	g := c.take()
	resp, err := g.transport.RoundTrip(req)
	v := works
	switch {
	case errors.Is(err, context.Canceled):
		v = tellsNothing
	case err != nil, resp.StatusCode >= 500, resp.StatusCode == http.StatusMisdirectedRequest:
		v = fails
	}
	c.learn(g, req.URL.Host, v)
	return resp, err
}

// CloseIdleConnections closes those that carry nothing.
func (c *connections) CloseIdleConnections() { c.take().transport.CloseIdleConnections() }

// judge is the evidence of a call. What answers in another's place may be another server at an
// address that was the API's: a new connection asks for the address anew.
func judge(failure *Error) evidence {
	switch {
	case failure == nil:
		return works
	case errors.Is(failure.Err, context.Canceled):
		return tellsNothing
	case failure.Status >= 500, failure.Status == http.StatusMisdirectedRequest,
		failure.Kind == Temporary, failure.Kind == Misconfigured, failure.Kind == Unreadable:
		return fails
	}
	return works
}

func newConnections(cfg Config) *connections {
	roots := newTrust()
	return &connections{open: func() *http.Transport { return newTransport(cfg, &tls.Config{RootCAs: roots.pool()}) }}
}

func newTransport(cfg Config, tlsConfig *tls.Config) *http.Transport {
	dialer := net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: conn}, nil
		},
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: cfg.Timeout,
		// net/http keeps two idle connections per host by default:
		// every call beyond the second would open a connection of its own.
		MaxIdleConnsPerHost: cfg.Concurrency,
		WriteBufferSize:     writeBuffer,
		// Replies are a few dozen bytes, unless hundreds of recipients are rejected.
		DisableCompression: true,
		// Below the idle limit of common load balancers' upstream side, so that
		// we rather than they close a connection that is not used.
		IdleConnTimeout:        50 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		// All HTTP/2 calls share a connection: one that died silently would
		// fail them all until the kernel gives up, many minutes later.
		HTTP2: &http.HTTP2Config{SendPingTimeout: cfg.Timeout, PingTimeout: cfg.Timeout},
	}
}
