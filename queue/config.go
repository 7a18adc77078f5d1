package queue

import (
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says which NATS to use and how. The zero value connects to a server on this machine.
type Config struct {
	// URL is one address, or several separated by commas. A user and a password, or a token, stand before
	// the host as in every URL, percent-encoded where need be (RFC 3986 section 2.1). Empty:
	// nats://127.0.0.1:4222.
	URL string
	// Creds is the path of a NATS credentials file. Empty: none.
	Creds string
	// User is a user whose password stands in PasswordFile, so that it need not stand in an address. It
	// needs PasswordFile, and an URL without a user. Empty: none.
	User string
	// PasswordFile is the path of a file with the password of User. A line break at its end does not
	// count. Empty: none.
	PasswordFile string
	// NkeyFile is the path of a file with the seed of an nkey. Creds, NkeyFile and
	// User exclude each other. Empty: none.
	NkeyFile string
	// TLSCert and TLSKey are the paths of a client certificate and of its key, in PEM; each needs the
	// other. Any of TLSCert and TLSCA makes TLS a condition. Empty: no client certificate.
	TLSCert, TLSKey string
	// TLSCA is the path of the certificates, in PEM, by which the server's is checked. Empty: those of
	// the system.
	TLSCA string
	// Domain is the JetStream domain that holds the streams, where the connection leads to a leaf node
	// with a JetStream of its own. Empty: the JetStream of the server that is connected to.
	Domain string
	// APIPrefix is the subject under which the account imports JetStream's API from another account. It
	// excludes Domain. Empty: $JS.API.
	APIPrefix string
	// InboxPrefix is what the subjects begin with on which answers come, for a user who may subscribe to
	// those only. Empty: _INBOX.
	InboxPrefix string
	// Name is the connection's name in the server's monitoring. Empty: chatrelay.
	Name string
	// Patience is how long Connect keeps trying to reach the server. Zero: one attempt. A connection
	// that is lost later is restored without a time limit, unless the server ended it for good; see
	// [Queue.Closed].
	Patience time.Duration
	// OnConnection, when set, is called with the cause when the connection is lost, with nil when it
	// is restored, and with errors that the server reports outside of any request.
	OnConnection func(error)
	// Options are applied after everything else, for what Config does not name. Handlers among them
	// replace those by which OnConnection and [Queue.Closed] work.
	Options []nats.Option
}

func (cfg Config) withDefaults() Config {
	if cfg.URL == "" {
		cfg.URL = DefaultURL
	}
	if cfg.Name == "" {
		cfg.Name = "chatrelay"
	}
	if cfg.OnConnection == nil {
		cfg.OnConnection = func(error) {}
	}
	return cfg
}

// jetStream opens the JetStream that holds the streams.
func (cfg *Config) jetStream(nc *nats.Conn, opts ...jetstream.JetStreamOpt) (jetstream.JetStream, error) {
	switch {
	case cfg.Domain != "":
		return jetstream.NewWithDomain(nc, cfg.Domain, opts...)
	case cfg.APIPrefix != "":
		return jetstream.NewWithAPIPrefix(nc, cfg.APIPrefix, opts...)
	}
	return jetstream.New(nc, opts...)
}

// apiPrefix is what the subjects of that JetStream's API begin with.
func (cfg *Config) apiPrefix() string {
	switch {
	case cfg.Domain != "":
		return "$JS." + cfg.Domain + ".API."
	case cfg.APIPrefix != "":
		return cfg.APIPrefix + "."
	}
	return "$JS.API."
}
