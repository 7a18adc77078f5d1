package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench/document"
)

// performancePath is that of the page (.md), its records (.jsonl) and its plots (-….svg), in a
// checkout of Chatrelay.
const performancePath = "docs/performance"

func (a *app) benchDocumentCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "document",
		Short: "Write the tables and plots of docs/performance.md from docs/performance.jsonl",
		Long: `Writes the tables and plots of docs/performance.md from docs/performance.jsonl, which holds what
bench printed with --output json. It is for a checkout of Chatrelay, and works in its directory.`,
		Example: `  go run ./cmd/chatrelay bench document           # chatrelay bench document, as it is in the checkout
  go run ./cmd/chatrelay bench document --check   # whether that would change anything`,
		Hidden: true, // nobody needs it to run Chatrelay
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !check {
				return document.Write(performancePath)
			}
			if err := document.Check(performancePath); err != nil {
				return fmt.Errorf("%w\nwrite the page anew with: go run ./cmd/chatrelay bench document", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; fail if the page is not what the records say")
	return cmd
}
