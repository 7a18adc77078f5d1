package chatapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
)

// Where Linux distributions keep the certificates of authorities: the first of the files that exists
// counts, and all of the directories. They are those of crypto/x509, which reads them once in the life
// of a process.
var (
	authorityFiles = []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
	}
	authorityDirs = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
)

// trust says which authorities are trusted: the system's, and after their files were changed those in
// the files.
type trust struct {
	mu   sync.Mutex
	read [sha256.Size]byte
	last *x509.CertPool // nil: the system's
}

// newTrust takes the files as they are for what the system knows.
func newTrust() *trust {
	return &trust{read: sha256.Sum256(authorities())}
}

// pool returns the authorities for a new connection. While files that were changed cannot be read, or
// hold no certificate, the former ones stay.
func (t *trust) pool() *x509.CertPool {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := authorities()
	if sum := sha256.Sum256(text); sum != t.read {
		if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(text) {
			t.read, t.last = sum, pool
		}
	}
	return t.last
}

// authorities returns what the files hold, each certificate file once. SSL_CERT_FILE and SSL_CERT_DIR
// name others than the usual ones, as for crypto/x509.
func authorities() []byte {
	if runtime.GOOS != "linux" {
		return nil // elsewhere the system is asked for each connection, or keeps them in other places
	}
	files, dirs := authorityFiles, authorityDirs
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		files = []string{file}
	}
	if list := os.Getenv("SSL_CERT_DIR"); list != "" {
		dirs = filepath.SplitList(list)
	}
	var parts [][]byte
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil { //nolint:gosec // whoever sets the environment says which files are trusted
			parts = append(parts, text)
			break
		}
	}
	seen := map[string]bool{}
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir) // a directory that is not there holds nothing
		for _, e := range entries {
			// Usually each certificate has a link beside it that is named by its hash.
			file, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
			if err != nil || seen[file] || slices.Contains(files, file) {
				continue
			}
			seen[file] = true
			if text, err := os.ReadFile(file); err == nil { //nolint:gosec // whoever sets the environment says which files are trusted
				parts = append(parts, text)
			}
		}
	}
	return bytes.Join(parts, []byte("\n"))
}
