package main

import (
	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/dev"
)

func (a *app) devAPICommand() *cobra.Command {
	var cfg dev.APIConfig
	var address, httpAddr, secretFile string
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Run the scripted Chat API alone, with https, for containers",
		Long: `Runs the scripted Chat API and token server alone, with https. It has a certificate authority of its
own and writes that one's certificate to ca.pem in --tls-dir; clients that name this file in
SSL_CERT_FILE trust it. It prints one line per call. GET /_/counts and /_/repeated show what was
delivered; --http-addr serves the same as /counts and /repeated. The client
id that it accepts is ` + chatapitest.DefaultClientID + `.`,
		Example: `  chatrelay dev api --listen :8443 --tls-dir ./certs --tls-host chatapi`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if secretFile != "" {
				if cfg.ClientSecret, err = readSecret(secretFile); err != nil {
					return err
				}
			}
			if cfg.Listen, err = listen("listen", address); err != nil {
				return err
			}
			if cfg.Records, err = listen("http-addr", httpAddr); err != nil {
				_ = cfg.Listen.Close()
				return err
			}
			cfg.Out = a.stdout
			return dev.RunAPI(cmd.Context(), cfg)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&address, "listen", "127.0.0.1:8443", "where to serve https")
	flags.StringVar(&httpAddr, "http-addr", "127.0.0.1:8080", "where to serve /healthz, /counts and /repeated without TLS")
	flags.StringVar(&cfg.CertDir, "tls-dir", "", "directory for ca.pem, created if absent; without it the certificate cannot be trusted")
	flags.StringVar(&cfg.Host, "tls-host", "localhost", "name that clients call it by")
	flags.StringVar(&secretFile, "client-secret-file", "", "file with the client secret to accept; without it: "+chatapitest.DefaultClientSecret)
	flags.DurationVar(&cfg.Latency, "latency", 0, "time between a delivery and the answer")
	return cmd
}
