package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
)

func (a *app) devAPICommand() *cobra.Command {
	var listen, httpAddr, tlsDir, tlsHost, secretFile string
	var latency time.Duration
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Run the scripted Chat API alone, with https, for containers",
		Long: `Runs the scripted Chat API and token server alone, with https and a certificate authority of its
own, whose certificate it writes to ca.pem in --tls-dir: clients trust it by SSL_CERT_FILE. It
prints one line per call; GET /_/counts and /_/repeated tell who was told.`,
		Example: `  chatrelay dev api --listen :8443 --tls-dir ./certs --tls-host chatapi`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg := chatapitest.Config{Latency: latency, OnCall: a.printCall()}
			if secretFile != "" {
				f := workerFlags{secretFile: secretFile}
				var err error
				if cfg.ClientSecret, err = f.secret(); err != nil {
					return err
				}
			}
			cert, err := certificate(tlsDir, tlsHost)
			if err != nil {
				return fmt.Errorf("--tls-dir: %w", err)
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return usagef("--listen: %w", err)
			}
			api := chatapitest.New(cfg)
			records := recordsOf(api)
			mux := http.NewServeMux()
			mux.Handle("/_/", http.StripPrefix("/_", records))
			mux.Handle("/", api)
			plainHTTP, err := net.Listen("tcp", httpAddr)
			if err != nil {
				return usagef("--http-addr: %w", err)
			}
			r := &http.Server{Handler: records, ReadHeaderTimeout: 5 * time.Second}
			defer r.Close()
			go func() { _ = r.Serve(plainHTTP) }() // ends by Close
			s := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, ReadHeaderTimeout: 5 * time.Second}
			context.AfterFunc(cmd.Context(), func() { _ = s.Close() })
			fmt.Fprintf(a.stdout, "scripted Chat API on https://%s%s\n", net.JoinHostPort(tlsHost, strings.TrimLeft(listen[strings.LastIndex(listen, ":"):], ":")), chatapitest.ChatPath)
			if err := s.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", "127.0.0.1:8443", "where to serve https")
	flags.StringVar(&httpAddr, "http-addr", "127.0.0.1:8080", "where to serve /healthz, /counts and /repeated without TLS")
	flags.StringVar(&tlsDir, "tls-dir", "", "directory for ca.pem; without it the certificate cannot be trusted")
	flags.StringVar(&tlsHost, "tls-host", "localhost", "name that clients call it by")
	flags.StringVar(&secretFile, "client-secret-file", "", "file with the client secret to accept; without it: "+chatapitest.DefaultClientSecret)
	flags.DurationVar(&latency, "latency", 0, "time between telling and answering")
	return cmd
}

// printCall prints a line for each call.
func (a *app) printCall() func(chatapitest.Call) {
	var mu sync.Mutex
	return func(c chatapitest.Call) {
		mu.Lock()
		defer mu.Unlock()
		told := 0
		if c.Delivered {
			told = len(c.Recipients) - c.Rejected
		}
		fmt.Fprintf(a.stdout, "%s project %s: answered %d to %s, %d told, %d rejected\n",
			c.Time.UTC().Format(time.RFC3339), term.Plain(c.ProjectID), c.Status, term.Counted(len(c.Recipients), "recipient"), told, c.Rejected)
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
