package dev

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
)

// APIConfig says how [RunAPI] serves the scripted Chat API.
type APIConfig struct {
	// Listen is where it is served with https, under the name Host.
	Listen net.Listener
	Host   string
	// CertDir keeps the certificate, and gets that of its authority as ca.pem. Empty: the
	// certificate cannot be trusted by anybody.
	CertDir string
	// Records is where /healthz, /counts and /repeated are served without TLS.
	Records net.Listener
	// ClientSecret is the one to accept. Empty: [chatapitest.DefaultClientSecret].
	ClientSecret string
	// Latency is how long it takes from a delivery to the answer.
	Latency time.Duration
	// Out gets a line for each call.
	Out io.Writer
}

// RunAPI serves the scripted Chat API and token server until ctx ends. It closes the listeners.
func RunAPI(ctx context.Context, cfg APIConfig) error {
	defer cfg.Listen.Close()
	defer cfg.Records.Close()
	cert, err := certificate(cfg.CertDir, cfg.Host)
	if err != nil {
		return fmt.Errorf("keep a certificate: %w", err)
	}
	api := chatapitest.New(chatapitest.Config{ClientSecret: cfg.ClientSecret, Latency: cfg.Latency, OnCall: printCalls(cfg.Out)})
	records := recordsOf(api)
	plain := &http.Server{Handler: records, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = plain.Serve(cfg.Records) }() // ends by Close
	defer plain.Close()

	mux := http.NewServeMux()
	mux.Handle("/_/", http.StripPrefix("/_", records))
	mux.Handle("/", api)
	s := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	port := strconv.Itoa(cfg.Listen.Addr().(*net.TCPAddr).Port)
	fmt.Fprintf(cfg.Out, "scripted Chat API on https://%s%s\n", net.JoinHostPort(cfg.Host, port), chatapitest.ChatPath)
	if err := s.ServeTLS(cfg.Listen, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// printCalls prints a line for each call.
func printCalls(out io.Writer) func(chatapitest.Call) {
	var mu sync.Mutex
	return func(c chatapitest.Call) {
		mu.Lock()
		defer mu.Unlock()
		delivered := 0
		if c.Delivered {
			delivered = len(c.Recipients) - c.Rejected
		}
		fmt.Fprintf(out, "%s project %s: answered %d to %s, %d delivered, %d rejected\n",
			c.Time.UTC().Format(time.RFC3339), term.Plain(c.ProjectID), c.Status, term.Counted(len(c.Recipients), "recipient"), delivered, c.Rejected)
	}
}

// recordsOf serves what a scripted Chat API remembers.
func recordsOf(api *chatapitest.Server) http.Handler {
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // whoever asked has gone
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		c := api.Counts()
		answer(w, map[string]any{"calls": c.Calls, "by_status": c.ByStatus, "delivered": c.Delivered, "rejected": c.Rejected,
			"duplicate_in_call": c.DuplicateInCall, "max_in_flight": c.MaxInFlight, "tokens_issued": c.TokensIssued, "repeated": len(api.Repeated())})
	})
	mux.HandleFunc("GET /repeated", func(w http.ResponseWriter, _ *http.Request) {
		repeated := []string{}
		for _, d := range api.Repeated() {
			repeated = append(repeated, d.ProjectID+" "+d.WovenID)
		}
		answer(w, repeated)
	})
	return mux
}
