package main

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/chatrelay/chatrelay/queue"
)

// natsFlags say which NATS to use.
type natsFlags struct{ url, creds, inboxPrefix string }

func (f *natsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "nats-url", queue.DefaultURL, "address of NATS, or several separated by commas")
	flags.StringVar(&f.creds, "nats-creds", "", "NATS credentials file")
	flags.StringVar(&f.inboxPrefix, "nats-inbox-prefix", "", "where answers of NATS are awaited, for users who may subscribe to an inbox of their own only")
}

func (f *natsFlags) config(name string) queue.Config {
	return queue.Config{URL: f.url, Creds: f.creds, InboxPrefix: f.inboxPrefix, Name: "chatrelay " + name}
}

// connect reaches NATS for a command that a person waits for: at once or not at all.
func (f *natsFlags) connect(ctx context.Context, name string) (*queue.Queue, error) {
	return queue.Connect(ctx, f.config(name))
}

// opTimeout bounds a question that is answered in milliseconds.
const opTimeout = 20 * time.Second
