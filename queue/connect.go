package queue

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Config says which NATS to use and how. The zero value connects to a server on this machine.
type Config struct {
	// URL is one address, or several separated by commas. Empty: nats://127.0.0.1:4222.
	URL string
	// Creds is the path of a NATS credentials file. Empty: none.
	Creds string
	// Name is what the server shows for this connection. Empty: chatrelay.
	Name string
	// Patience is how long Connect keeps trying to reach the server for the first time. Zero: one
	// attempt. Once made, a connection is restored for as long as it takes.
	Patience time.Duration
	// OnConnection, when set, is told when the connection is lost (with the cause) and restored
	// (nil), and of errors that the server reports beside any request.
	OnConnection func(error)
}

// DefaultURL is where a NATS server listens by default.
const DefaultURL = nats.DefaultURL

// asyncPending bounds the publications that wait for their acknowledgement. Beyond 4,000
// nothing is gained (jetstream.md 3.1: 181 k/s at 4,000, 152 k/s at 1,000).
const asyncPending = 4096

// Queue is a connection to NATS and its JetStream.
type Queue struct {
	nc *nats.Conn
	js jetstream.JetStream
	id string // of this connection, among workers
}

// Connect reaches NATS. Close the queue when done with it. The error matches [ErrNoServer] when
// nobody answers.
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
	opts := []nats.Option{
		nats.Name(cfg.Name),
		nats.MaxReconnects(-1),
		// Subjects are made here, of parts that were checked, and acks are many.
		nats.SkipSubjectValidation(),
		// A password that is wrong for a while, as when both ends are being changed, is no reason
		// to give up for good either.
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// A server that vanished without a word is noticed after two of these.
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(5 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				cfg.OnConnection(fmt.Errorf("connection to NATS lost: %w", err))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { cfg.OnConnection(nil) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { cfg.OnConnection(err) }),
	}
	if cfg.Creds != "" {
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	deadline := time.Now().Add(cfg.Patience)
	for {
		nc, err := nats.Connect(cfg.URL, opts...)
		if err == nil {
			return open(nc)
		}
		err = fmt.Errorf("connect to NATS at %s: %w", redactURLs(cfg.URL), connectError(err))
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

func open(nc *nats.Conn) (*Queue, error) {
	js, err := jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(asyncPending),
		// Without it a future whose answer was lost never resolves.
		jetstream.WithPublishAsyncTimeout(5*time.Second),
		jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &Queue{nc: nc, js: js, id: nuid.Next()}, nil
}

// redactURLs hides the passwords that NATS addresses may carry.
func redactURLs(list string) string {
	urls := strings.Split(list, ",")
	for i, u := range urls {
		u = strings.TrimSpace(u)
		if !strings.Contains(u, "://") {
			u = "nats://" + u
		}
		if parsed, err := url.Parse(u); err == nil {
			urls[i] = parsed.Redacted()
		} else {
			urls[i] = "(unreadable address)"
		}
	}
	return strings.Join(urls, ",")
}

// Connected tells whether the connection stands at this moment.
func (q *Queue) Connected() bool { return q.nc.IsConnected() }

// Close sends what is buffered, for at most two seconds, and closes the connection.
func (q *Queue) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = q.nc.FlushWithContext(ctx) // what matters was acknowledged one by one
	q.nc.Close()
}
