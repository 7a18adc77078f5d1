package dev

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificate gives the certificate kept in dir, if it still serves host: clients that trust its
// authority read ca.pem once, when they start. Otherwise it makes one.
func certificate(dir, host string) (tls.Certificate, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // ca.pem in it is for all
			return tls.Certificate{}, err
		}
		kept, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
		if err == nil && kept.Leaf.VerifyHostname(host) == nil && time.Until(kept.Leaf.NotAfter) > 24*time.Hour {
			return kept, nil
		}
	}
	return issueCertificate(dir, host)
}

// issueCertificate makes a certificate authority and a certificate of it for host and loopback,
// valid for a year, and keeps them in dir: the authority's in ca.pem.
func issueCertificate(dir, host string) (tls.Certificate, error) {
	now := time.Now()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
			KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	ca := template(now.UnixNano(), "Chatrelay scripted Chat API")
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := template(now.UnixNano()+1, host)
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.DNSNames = []string{host, "localhost"}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	if dir == "" {
		return tls.Certificate{Certificate: [][]byte{leafDER, caDER}, PrivateKey: key}, nil
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	authority, leafPEM := block("CERTIFICATE", caDER), block("CERTIFICATE", leafDER)
	keyPEM := block("PRIVATE KEY", keyDER)
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "key.pem"), keyPEM, 0o600),
		os.WriteFile(filepath.Join(dir, "cert.pem"), append(leafPEM, authority...), 0o644), //nolint:gosec // a certificate is public
		os.WriteFile(filepath.Join(dir, "ca.pem"), authority, 0o644))                       //nolint:gosec // a certificate is public
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(append(leafPEM, authority...), keyPEM)
}
