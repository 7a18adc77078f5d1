package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/ops"
)

func (a *app) deadShowCommand() *cobra.Command {
	var nats natsFlags
	cmd := &cobra.Command{
		Use:     "show SEQ",
		Short:   "Print one dead letter whole, as JSON",
		Example: `  chatrelay dead show 4711`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("dead show takes one number, that of a dead letter; see: chatrelay dead list")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usagef("%q is not the number of a dead letter; see: chatrelay dead list", args[0])
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), opTimeout)
			defer cancel()
			q, err := nats.connect(ctx, "dead show")
			if err != nil {
				return err
			}
			defer q.Close()
			l, err := ops.New(q).Letter(ctx, seq)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return term.PrintJSON(a.stdout, l)
			}
			if err := term.PrintIndented(a.stdout, l); err != nil {
				return err
			}
			if l.Raw != nil {
				size := fmt.Sprint(len(l.Raw))
				if l.RawSize > 0 {
					size = fmt.Sprintf("the first %d of %d", len(l.Raw), l.RawSize)
				}
				fmt.Fprintf(a.stdout, "\nthe payload in raw, %s bytes:\n%s\n", size, term.Clip(term.Plain(string(l.Raw)), 2000))
			}
			return nil
		},
	}
	nats.register(cmd.Flags())
	return cmd
}
