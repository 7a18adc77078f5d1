package queue

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// options are those of NATS's client for a config with its defaults. Every file is read once, so that what
// is wrong with it is said at once and with its path; the client reads it again whenever it connects. No
// error holds anything that a file holds.
func (cfg *Config) options(end *end, denied *denials) ([]nats.Option, error) {
	addresses, err := parseAddresses(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := cfg.checkSubjects(); err != nil {
		return nil, err
	}
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
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			denied.observe(err)
			if !lossIsMeant(sub, err) {
				cfg.OnConnection(err)
			}
		}),
		// While the server is away nothing is kept to be sent later: what was reported as failed must not
		// be stored afterwards. Whoever publishes or acks tries again.
		nats.ReconnectBufSize(-1),
		nats.ClosedHandler(func(nc *nats.Conn) { end.close(nc.LastError()) }),
	}
	if cfg.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(cfg.InboxPrefix))
	}
	login, err := cfg.login(addresses)
	if err != nil {
		return nil, err
	}
	secure, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	return append(append(append(opts, login...), secure...), cfg.Options...), nil
}

// checkSubjects checks what becomes the beginning of subjects.
func (cfg *Config) checkSubjects() error {
	if cfg.Domain != "" && cfg.APIPrefix != "" {
		return fmt.Errorf("%w: a JetStream domain and an API prefix exclude each other; the domain foo is the API prefix $JS.foo.API", ErrConfig)
	}
	if strings.Contains(cfg.Domain, ".") || !isSubject(cfg.Domain) {
		return fmt.Errorf("%w: the JetStream domain %q must be a single word without dots, blanks and wildcards", ErrConfig, cfg.Domain)
	}
	for what, prefix := range map[string]string{"API": cfg.APIPrefix, "inbox": cfg.InboxPrefix} {
		if !isSubject(prefix) {
			return fmt.Errorf("%w: the %s prefix %q must be a subject without wildcards and blanks, and without a dot at its end", ErrConfig, what, prefix)
		}
	}
	return nil
}

// isSubject reports whether s is empty or can be the beginning of a subject.
func isSubject(s string) bool {
	return !strings.ContainsAny(s, "*> \t\r\n\x00") && (s == "" || !strings.Contains("."+s+".", ".."))
}

// login is how the client says who it is.
func (cfg *Config) login(addresses []address) ([]nats.Option, error) {
	ways := 0
	for _, way := range []string{cfg.Creds, cfg.NkeyFile, cfg.User} {
		if way != "" {
			ways++
		}
	}
	if ways > 1 {
		return nil, fmt.Errorf("%w: a credentials file, an nkey, and a user with a password file exclude each other", ErrConfig)
	}
	var opts []nats.Option
	if cfg.Creds != "" {
		data, err := os.ReadFile(cfg.Creds)
		if err == nil {
			if _, err = nkeys.ParseDecoratedJWT(data); err == nil {
				err = checkSeed(data)
			}
		}
		if err != nil {
			return nil, fileError("credentials file", cfg.Creds, "it must be one such as nsc or \"nats auth\" make, with a JWT and a seed", err)
		}
		opts = append(opts, nats.UserCredentials(cfg.Creds))
	}
	if cfg.NkeyFile != "" {
		data, err := os.ReadFile(cfg.NkeyFile)
		if err == nil {
			err = checkSeed(data)
		}
		var option nats.Option
		if err == nil {
			option, err = nats.NkeyOptionFromSeed(cfg.NkeyFile)
		}
		if err != nil {
			return nil, fileError("nkey file", cfg.NkeyFile, "it must hold the seed of a user, which begins with SU", err)
		}
		opts = append(opts, option)
	}
	if (cfg.User == "") != (cfg.PasswordFile == "") {
		return nil, fmt.Errorf("%w: a user needs a password file, and a password file its user", ErrConfig)
	}
	if cfg.User != "" {
		if slices.ContainsFunc(addresses, func(a address) bool { return a.url.User != nil }) {
			return nil, fmt.Errorf("%w: a user stands in the address of NATS, and another beside it", ErrConfig)
		}
		if password, err := readPassword(cfg.PasswordFile); err != nil || password == "" {
			return nil, fileError("password file", cfg.PasswordFile, "it must hold the password", cmp.Or(err, errors.New("it is empty")))
		}
		opts = append(opts, nats.UserInfoHandler(func() (string, string) {
			password, _ := readPassword(cfg.PasswordFile) // without it the server refuses, and it is tried again
			return cfg.User, password
		}))
	}
	return opts, nil
}

// checkSeed reports, without a word of it, whether data holds the seed of a user.
func checkSeed(data []byte) error {
	pair, err := nkeys.ParseDecoratedNKey(data)
	if err != nil {
		return errors.New("no seed in it can be read")
	}
	defer pair.Wipe()
	if public, err := pair.PublicKey(); err != nil || !nkeys.IsValidPublicUserKey(public) {
		return errors.New("its seed is not that of a user")
	}
	return nil
}

func readPassword(path string) (string, error) {
	data, err := os.ReadFile(path)
	return strings.TrimRight(string(data), "\r\n"), err
}

// fileError says which file cannot be used, why, and what it should hold.
func fileError(what, path, should string, err error) error {
	if system, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%w: %s %s: %w", ErrConfig, what, path, system.Err)
	}
	return fmt.Errorf("%w: %s %s: %w; %s", ErrConfig, what, path, err, should)
}
