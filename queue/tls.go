package queue

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

// tls is how the server is checked, and how the client shows who it is by a certificate.
func (cfg *Config) tls() ([]nats.Option, error) {
	var opts []nats.Option
	if cfg.TLSCA != "" {
		data, err := os.ReadFile(cfg.TLSCA)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(data) {
			err = errors.New("no certificate in it can be read")
		}
		if err != nil {
			return nil, fileError("CA file", cfg.TLSCA, "it must hold certificates in PEM", err)
		}
		opts = append(opts, nats.RootCAs(cfg.TLSCA))
	}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return nil, fmt.Errorf("%w: a client certificate needs its key, and a key its certificate", ErrConfig)
	}
	if cfg.TLSCert != "" {
		certificate, err := os.ReadFile(cfg.TLSCert)
		if err != nil {
			return nil, fileError("client certificate", cfg.TLSCert, "", err)
		}
		key, err := os.ReadFile(cfg.TLSKey)
		if err != nil {
			return nil, fileError("client key", cfg.TLSKey, "", err)
		}
		if _, err := tls.X509KeyPair(certificate, key); err != nil {
			reason := errors.New(strings.TrimPrefix(err.Error(), "tls: ")) // says what is wrong, quotes nothing
			return nil, fileError("client certificate and key", cfg.TLSCert+" and "+cfg.TLSKey, "both must be PEM and belong together", reason)
		}
		opts = append(opts, nats.ClientCert(cfg.TLSCert, cfg.TLSKey))
	}
	return opts, nil
}
