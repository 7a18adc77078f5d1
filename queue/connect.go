package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Config says which NATS to use and how. The zero value connects to a server on this machine.
type Config struct {
	// URL is one address, or several separated by commas. A user and a password, or a token, stand before
	// the host as in every URL, percent-encoded where need be (RFC 3986 section 2.1). Empty:
	// nats://127.0.0.1:4222.
	URL string
	// Creds is the path of a NATS credentials file. Empty: none.
	Creds string
	// Name is the connection's name in the server's monitoring. Empty: chatrelay.
	Name string
	// InboxPrefix begins the subjects on which answers are awaited, for users who may subscribe to their own
	// inbox only. Empty: _INBOX.
	InboxPrefix string
	// Patience is how long Connect keeps trying to reach the server. Zero: one attempt. A connection
	// that is lost later is restored without a time limit.
	Patience time.Duration
	// OnConnection, when set, is called with the cause when the connection is lost, with nil when it
	// is restored, and with errors that the server reports outside of any request.
	OnConnection func(error)
}

// DefaultURL is where a NATS server listens by default.
const DefaultURL = nats.DefaultURL

// asyncPending bounds the publications that wait for their acknowledgement. Measured with 200-byte
// messages: 152,000 a second with 1,000 pending, 180,000 with 4,000.
const asyncPending = 4096

// ackTimeout is how long the acknowledgement of a publication is awaited.
const ackTimeout = 5 * time.Second

// Queue is a connection to NATS and its JetStream.
type Queue struct {
	nc *nats.Conn
	js jetstream.JetStream

	denied *denials
	id     string // of this connection, unlike other workers'
	clock  clock
}

// Connect connects to NATS. Close the queue when done with it. The error matches [ErrNoServer] when no
// server answers at the address, and [ErrAddress] when that cannot be read; it never holds a user, a
// password or a token.
func Connect(ctx context.Context, cfg Config) (*Queue, error) {
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	if cfg.Name == "" {
		cfg.Name = "chatrelay"
	}
	if cfg.OnConnection == nil {
		cfg.OnConnection = func(error) {}
	}
	if _, err := parseAddresses(cfg.URL); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	denied := &denials{}
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		// This package builds its subjects of parts that it has checked, and each ack would be
		// checked again.
		nats.SkipSubjectValidation(),
		// While credentials are being replaced on both sides they may be refused for a while; the
		// client must not give up over that.
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// A server that vanished without closing the connection is noticed after two missed pings.
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(5 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				cfg.OnConnection(fmt.Errorf("connection to NATS lost: %w", err))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { cfg.OnConnection(nil) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			denied.observe(err)
			cfg.OnConnection(err)
		}),
		// While the server is away nothing is kept to be sent later: what was reported as failed must not
		// be stored afterwards. Whoever publishes or acks tries again.
		nats.ReconnectBufSize(-1),
	}
	if cfg.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(cfg.InboxPrefix))
	}
	if cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	deadline := time.Now().Add(cfg.Patience)
	for {
		nc, err := nats.Connect(cfg.URL, opts...)
		if err == nil {
			return open(nc, denied)
		}
		err = fmt.Errorf("connect to NATS at %s: %w", RedactURL(cfg.URL), connectError(err))
		if errors.Is(err, nats.ErrAuthorization) || !time.Now().Before(deadline) {
			return nil, err
		}
		cfg.OnConnection(err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Second):
		}
	}
}

func open(nc *nats.Conn, denied *denials) (*Queue, error) {
	js, err := jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(asyncPending),
		// Without it a publication whose acknowledgement was lost would wait for ever.
		jetstream.WithPublishAsyncTimeout(ackTimeout),
		jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &Queue{nc: nc, js: js, denied: denied, id: nuid.Next()}, nil
}

// Connected reports whether the connection is up at this moment.
func (q *Queue) Connected() bool { return q.nc.IsConnected() }

// Close sends what is buffered, for at most two seconds, and closes the connection.
func (q *Queue) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = q.nc.FlushWithContext(ctx) // publications were acknowledged one by one before
	q.nc.Close()
}

// apiSubject is a subject of JetStream's API.
func (q *Queue) apiSubject(suffix string) string { return "$JS.API." + suffix }
