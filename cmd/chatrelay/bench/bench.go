// Package bench measures the worker beside a bare loop that does the same deliveries without any
// guarantee.
//
//	for each workload and pair: the worker, the bare loop
//	  child processes: nats-server, a Chat API that counts every recipient, the program that is measured
//	  publish ─▶ time until the streams are empty ─▶ demand one delivery to every recipient
//
// The processes are this very program with other arguments; see [RunBroker], [RunAPI] and [RunBare].
// Package document writes a page from what was measured.
package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
)

// Config says how [Measure] measures. All fields but the two of NATS are required.
type Config struct {
	// NATSURL is a NATS to measure with, whose streams must be empty. Empty: a nats-server is
	// started for each run.
	NATSURL   string
	NATSCreds string // path of a NATS credentials file; empty: none

	Pairs       int           // how often each workload is done by each program
	Linger      time.Duration // of the worker
	Concurrency int           // calls in flight at the same time, of each replica
	Replicas    int           // how many workers, or bare loops, share the work
	Bare        bool          // whether the bare loop is measured, too

	// Version and Command say in the records what was measured, and how.
	Version string
	Command []string

	// Out gets a table for each workload, or lines of JSON, Err the progress.
	Out, Err io.Writer
	JSON     bool
}

// Names of the programs that are measured, as they stand in records.
const (
	ProgramWorker = "worker"
	ProgramBare   = "bare loop"
)

// programs are those that are measured.
func (cfg Config) programs() []string {
	if cfg.Bare {
		return []string{ProgramBare, ProgramWorker}
	}
	return []string{ProgramWorker}
}

// Measure measures, and prints every workload when it is done. It ends with an error when a
// recipient got no delivery, or more than one.
func Measure(ctx context.Context, cfg Config, chosen []Workload) error {
	dir, err := os.MkdirTemp("", "chatrelay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	report := report{cfg}
	if err := report.begin(); err != nil {
		return err
	}
	bar := term.CountProgress(cfg.Err, int64(len(cfg.programs())*cfg.Pairs*len(chosen)), "")
	defer bar.Finish()
	for _, w := range chosen {
		var runs []Run
		for pair := range cfg.Pairs {
			programs := cfg.programs()
			if pair%2 == 1 { // whoever goes second finds the machine warmer: they take turns
				slices.Reverse(programs)
			}
			for _, program := range programs {
				bar.Describe(fmt.Sprintf("%s pair %d of %d, %s", w.Name, pair+1, cfg.Pairs, program))
				m := measurement{cfg: cfg, workload: w, program: program, dir: dir}
				run, err := m.run(ctx)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", w.Name, program, err)
				}
				run.Pair = pair + 1
				runs = append(runs, run)
				bar.Add(1)
			}
		}
		bar.Clear()
		if err := report.workload(w, runs); err != nil {
			return err
		}
	}
	return nil
}
