package dev

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func listener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The sample ends with every recipient accounted for, and only then says so. Another program has the
// wanted port.
func TestRunOnce(t *testing.T) {
	dir := t.TempDir()
	other := listener(t)
	defer other.Close()
	port := other.Addr().(*net.TCPAddr).Port
	var out, rest bytes.Buffer
	cfg := Config{Dir: dir, Port: port, Once: true, HTTP: listener(t), Log: zerolog.Nop(), Version: "test", Out: &out, Err: &rest, JSON: true}
	// A tick while a stream is created is a data race in nats-server 2.15.2 (setSyncTimer).
	cfg.syncInterval = time.Hour
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatalf("%v\n%s", err, &rest)
	}
	var sum struct {
		Recipients, Delivered, Dead int
		Missing                     []string
	}
	if err := json.Unmarshal(out.Bytes(), &sum); err != nil || sum.Delivered == 0 || sum.Dead == 0 || sum.Delivered+sum.Dead != sum.Recipients || len(sum.Missing) > 0 {
		t.Errorf("summary %s (%v)", &out, err)
	}
	events, ended := strings.CutSuffix(rest.String(), "\nevery recipient is accounted for\n")
	if !ended || strings.Count(events, "dead letter  ") != 3 || strings.Count(events, "pause  ") != strings.Count(events, "resume  ") {
		t.Errorf("it says:\n%s", &rest)
	}
	if taken := fmt.Sprintf(" (%d is taken: give --nats-url to every command)\n", port); !strings.Contains(events, taken) {
		t.Errorf("%q is missing:\n%s", taken, events)
	}
}

func TestDirectoryIsForOneRunAtATime(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC() // which closes files that nobody holds
	runtime.GC()
	var used *DirError
	if err := Run(t.Context(), Config{Dir: dir}); !errors.As(err, &used) || !strings.Contains(err.Error(), "another chatrelay dev uses") {
		t.Errorf("a second run: %v", err)
	}
	unlock()
	if unlock, err = lockDir(dir); err != nil {
		t.Fatalf("it stays locked: %v", err)
	}
	unlock()
}

// The certificate is trusted by who reads ca.pem, and stays the same when the API starts again.
func TestRunAPI(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	get := func(roots *x509.CertPool) (authority []byte) {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		cfg := APIConfig{Listen: listener(t), Host: "localhost", CertDir: dir, Records: listener(t), Out: &bytes.Buffer{}}
		ended := make(chan error, 1)
		go func() { ended <- RunAPI(ctx, cfg) }()
		resp, err := http.Get("http://" + cfg.Records.Addr().String() + "/healthz") // waits until it serves
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		text, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		roots.AppendCertsFromPEM(text)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
		resp, err = client.Get("https://" + cfg.Listen.Addr().String() + "/_/counts")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("counts: %v, %v", resp, err)
		}
		_ = resp.Body.Close()
		client.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return text
	}
	if !bytes.Equal(get(x509.NewCertPool()), get(x509.NewCertPool())) {
		t.Error("a new certificate authority at the second start")
	}
}
