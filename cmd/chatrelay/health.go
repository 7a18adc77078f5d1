package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) healthCommand() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a worker on this machine whether it is ready, for container health checks",
		Example: `  chatrelay health
  chatrelay health --url http://127.0.0.1:8080/healthz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := url.Parse(address)
			if err != nil || at.Host == "" { // not quoted: it may hold a password
				return usagef("--url: it is no URL such as http://127.0.0.1:8080/readyz")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
			if err != nil {
				return usagef("--url: %w", err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s answers %s", at.Redacted(), resp.Status)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&address, "url", "http://127.0.0.1:8080/readyz", "address to ask")
	return cmd
}
