package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// configurationPath is that of the configuration reference, in a checkout of Chatrelay.
const configurationPath = "docs/configuration.md"

// The tables of the reference stand between these lines; the text around them is written by hand.
const (
	flagsBegin = "<!-- begin flags: written by go run ./cmd/chatrelay configuration -->\n"
	flagsEnd   = "<!-- end flags -->"
)

func (a *app) configurationCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "configuration",
		Short: "Write the tables of docs/configuration.md from the flags of all commands",
		Long: `Writes the tables of docs/configuration.md from the flags of all commands. It is for a checkout of
Chatrelay, and works in its directory. A test fails when the tables are out of date.`,
		Example: `  go run ./cmd/chatrelay configuration   # chatrelay configuration, as it is in the checkout`,
		Hidden:  true, // nobody needs it to run Chatrelay
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			page, err := os.ReadFile(configurationPath)
			if err != nil {
				return err
			}
			text, err := withFlags(string(page), cmd.Root())
			if err != nil {
				return err
			}
			return os.WriteFile(configurationPath, []byte(text), 0o644) //nolint:gosec // a page of the documents, which are public
		},
	}
}

// withFlags is the page with its tables written anew.
func withFlags(page string, root *cobra.Command) (string, error) {
	before, rest, begins := strings.Cut(page, flagsBegin)
	_, after, ends := strings.Cut(rest, flagsEnd)
	if !begins || !ends {
		return "", fmt.Errorf("%s must have the lines %q and %q", configurationPath, flagsBegin, flagsEnd)
	}
	tables := flagTables{described: map[string]string{}}
	tables.write(root.CommandPath(), "Every command", root.PersistentFlags())
	tables.commands(root, "worker", "init", "publish")
	return before + flagsBegin + tables.text.String() + "\n" + flagsEnd + after, nil
}

// flagTables describe flags, each where it first appears.
type flagTables struct {
	text      strings.Builder
	described map[string]string // a flag's row to the command where it stands
}

// commands describes all commands beneath a parent, these first.
func (t *flagTables) commands(parent *cobra.Command, first ...string) {
	list := slices.Clone(parent.Commands())
	rank := func(c *cobra.Command) int {
		if i := slices.Index(first, c.Name()); i >= 0 {
			return i
		}
		return len(first)
	}
	slices.SortStableFunc(list, func(a, b *cobra.Command) int { return rank(a) - rank(b) })
	for _, c := range list {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		t.write(strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" "), "`"+c.CommandPath()+"`", c.LocalNonPersistentFlags())
		t.commands(c)
	}
}

// write describes the flags of one command. Those that mean the same as another's are only named.
func (t *flagTables) write(command, title string, flags *pflag.FlagSet) {
	var rows, elsewhere []string
	same := map[string][]string{} // by the command that describes them
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		row := flagRow(f)
		where := t.described[row]
		if where == "" {
			t.described[row] = command
			rows = append(rows, row)
			return
		}
		if same[where] == nil {
			elsewhere = append(elsewhere, where)
		}
		same[where] = append(same[where], "`--"+f.Name+"`")
	})
	if len(rows)+len(elsewhere) == 0 {
		return
	}
	fmt.Fprintf(&t.text, "\n### %s\n", title)
	if len(rows) > 0 {
		t.text.WriteString("\n| flag | variable | default | meaning |\n|---|---|---|---|\n" + strings.Join(rows, ""))
	}
	for _, where := range elsewhere {
		fmt.Fprintf(&t.text, "\nAs for `%s`: %s.\n", where, strings.Join(same[where], ", "))
	}
}

// flagRow is a flag's line of the table. As in the help, a default that only means "absent" is left out.
func flagRow(f *pflag.Flag) string {
	name, code := "`--"+f.Name+"`", func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	if f.Shorthand != "" {
		name += ", `-" + f.Shorthand + "`"
	}
	byDefault := f.DefValue
	if slices.Contains([]string{"0", "0s", "false", "[]"}, byDefault) {
		byDefault = ""
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", name, code(variable(f)), code(byDefault), strings.ReplaceAll(f.Usage, "|", `\|`))
}
