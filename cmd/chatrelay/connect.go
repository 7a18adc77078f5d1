package main

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/chatrelay/chatrelay/queue"
)

// natsFlags say which NATS to use. Secrets are given by files only.
type natsFlags struct{ to queue.Config }

func (f *natsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.to.URL, "nats-url", queue.DefaultURL, "address of NATS, or several separated by commas")
	flags.StringVar(&f.to.Creds, "nats-creds", "", "NATS credentials file")
	flags.StringVar(&f.to.NkeyFile, "nats-nkey-file", "", "file with the seed of an nkey of NATS")
	flags.StringVar(&f.to.User, "nats-user", "", "user of NATS whose password is in --nats-password-file")
	flags.StringVar(&f.to.PasswordFile, "nats-password-file", "", "file with the password of --nats-user")
	flags.StringVar(&f.to.TLSCert, "nats-tls-cert", "", "client certificate for NATS, in PEM; needs --nats-tls-key")
	flags.StringVar(&f.to.TLSKey, "nats-tls-key", "", "key of --nats-tls-cert, in PEM")
	flags.StringVar(&f.to.TLSCA, "nats-tls-ca", "", "certificates, in PEM, by which that of NATS is checked; without it, those of the system")
	flags.StringVar(&f.to.Domain, "nats-js-domain", "", "JetStream domain of the streams, when NATS is a leaf node with a JetStream of its own")
	flags.StringVar(&f.to.APIPrefix, "nats-js-api-prefix", "", "subject under which JetStream's API is imported from another account; not with --nats-js-domain")
	flags.StringVar(&f.to.InboxPrefix, "nats-inbox-prefix", "", "beginning of the subjects for answers, for a user who may subscribe to no others; without it, _INBOX")
}

func (f *natsFlags) config(name string) queue.Config {
	cfg := f.to
	cfg.Name = "chatrelay " + name
	return cfg
}

// connect reaches NATS for a command that a person waits for: at once or not at all.
func (f *natsFlags) connect(ctx context.Context, name string) (*queue.Queue, error) {
	return queue.Connect(ctx, f.config(name))
}

// opTimeout bounds a question that is answered in milliseconds.
const opTimeout = 20 * time.Second
