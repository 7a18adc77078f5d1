// Command chatrelay delivers notification jobs from NATS JetStream to the Woven City's Chat API.
//
// Each file holds one command: it parses flags and the environment, fills a Config, calls, prints, and
// chooses the exit code. What is done is done by the packages beneath and beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// Exit codes.
const (
	exitFailed = 1 // what was asked for was not done, or not wholly
	exitUsage  = 2 // wrong usage or configuration
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is one invocation: its streams, and what every command shares.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	flush          func() // sees to it that what was written to stderr arrives
	output         string // text or json
	began          bool   // the command line was understood and the command itself ran
}

// usageError is wrong usage or configuration that only the command itself can notice.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errReported is a failure that the command has printed already.
var errReported = errors.New("reported")

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The first signal asks every command to come to an orderly end; the second ends it at once, for
	// which signals have their default effect again before anything is said about the first.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		signal.Stop(signals)
		cancel()
	}()

	stdout, stderr = term.Guard(stdout), term.Guard(stderr)
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, flush: func() {}}
	defer func() { a.flush() }()
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(a.stderr, "chatrelay:", term.PlainLines(withAdvice(err)))
	}
	if _, usage := errors.AsType[usageError](err); usage || !a.began || errors.Is(err, queue.ErrAddress) || errors.Is(err, queue.ErrConfig) {
		return exitUsage
	}
	return exitFailed
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "chatrelay",
		Short: "Deliver notification jobs from NATS JetStream to the Woven City's Chat API",
		Long: `Chatrelay delivers notification jobs from NATS JetStream to the Woven City's Chat API.

Producers publish jobs; workers batch their recipients per project, call the Chat API, retry, and
keep every recipient that they could not deliver to as a dead letter with its reason. Operators
inspect the dead letters and replay them.

Every flag can be given in the environment as well: --nats-url as CHATRELAY_NATS_URL, and so on.
Durations have the units ms, s, m, h, d (24 hours) and w (7 days), such as 1d12h.
Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.`,
		Example: `  chatrelay dev                      # try everything on this machine, nothing else needed
  chatrelay init                     # create the streams
  chatrelay worker                   # run a worker
  chatrelay status`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			if a.output != "text" && a.output != "json" {
				return fmt.Errorf("--output %q is neither text nor json", a.output)
			}
			a.began = true
			return nil
		},
	}
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "how to print: text or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		a.initCommand(), a.workerCommand(), a.publishCommand(), a.deadCommand(), a.statusCommand(),
		a.devCommand(), a.healthCommand(), a.benchCommand(), a.configurationCommand(),
	)
	withDays(root)
	root.SetHelpCommandGroupID("")
	return root
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
