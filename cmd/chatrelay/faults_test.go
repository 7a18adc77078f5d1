//go:build faults

package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue/broker"
)

var reportTo = flag.String("report", "", "write what TestFaults measured to this file, from the directory of the package, and demand the bounds of times as well")

const (
	faultsCommand = "go test -race -timeout 20m -tags faults -run TestFaults ./cmd/chatrelay"
	reportCommand = "go test -timeout 20m -tags faults -run TestFaults ./cmd/chatrelay -report ../../docs/reliability.md"
)

// A fault is one scenario: something goes wrong while real processes work, and every recipient is
// accounted for. What was done and demanded goes into the report, with the figures.
type fault struct {
	name      string
	did       string
	demanded  string // on any machine
	bounded   string // times and what depends on them, demanded by a report only: a test must pass on a busy machine
	run       func(*testing.T, *figures)
	alone     bool // a report needs the machine for it alone, because it measures short times
	figures   figures
	seconds   float64
	ran, kept bool
}

// figures are what one scenario measured, in words, and the bounds that it did not keep.
type figures struct{ said, missed []string }

func (f *figures) add(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

// bound notes whether something that depends on the machine's speed is as it is on a quiet machine.
func (f *figures) bound(kept bool, format string, args ...any) {
	if !kept {
		f.missed = append(f.missed, fmt.Sprintf(format, args...))
	}
}

// account says what became of every recipient: none may be lost, or buried.
func (f *figures) account(s *system, loads ...load) fate {
	s.t.Helper()
	return f.accountBuried(s, 0, loads...)
}

// accountBuried is account where some are buried.
func (f *figures) accountBuried(s *system, buried int, loads ...load) fate {
	s.t.Helper()
	var all load
	for _, l := range loads {
		all.jobs = append(all.jobs, l.jobs...)
	}
	got := all.count(s)
	if got.buried != buried {
		s.t.Errorf("%d recipients were buried, want %d: %.500v", got.buried, buried, s.letters())
	}
	f.add("of %s recipients %d lost, %d repeated, %d buried; %s calls", term.Thousands(got.recipients), got.lost, got.repeated, got.buried, term.Thousands(s.api.Counts().Calls))
	return got
}

// TestFaults runs every scenario of faults. With -report it writes what they measured.
func TestFaults(t *testing.T) {
	reporting := *reportTo != ""
	if reporting && raced {
		t.Fatal("the race detector slows everything down: a report is measured without it")
	}
	began, all := time.Now(), slices.Clone(faults)
	t.Cleanup(func() {
		for _, f := range all {
			if f.ran {
				t.Logf("%s: %s (%.0f s)%s", f.name, strings.Join(f.figures.said, "; "), f.seconds, f.words())
			}
		}
		if reporting {
			writeReport(t, all, began)
		}
	})
	for i := range all {
		all[i].test(t, reporting && all[i].alone)
	}
}

func (f *fault) test(t *testing.T, alone bool) {
	t.Run(f.name, func(t *testing.T) {
		if !alone {
			t.Parallel() // mostly they wait
		}
		began := time.Now()
		t.Cleanup(func() { f.ran, f.kept, f.seconds = true, !t.Failed(), time.Since(began).Seconds() })
		f.run(t, &f.figures)
	})
}

// words name the bounds that were missed.
func (f fault) words() string {
	if len(f.figures.missed) == 0 {
		return ""
	}
	return "; NOT MET: " + strings.Join(f.figures.missed, "; ")
}

// writeReport fails after it has written, if something that is demanded was not met.
func writeReport(t *testing.T, all []fault, began time.Time) {
	for _, f := range all {
		if !f.ran {
			t.Fatalf("%s did not run: nothing is written to %s", f.name, *reportTo)
		}
	}
	if err := os.WriteFile(*reportTo, []byte(report(all, began)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if missed := f.words(); missed != "" {
			t.Errorf("%s%s", f.name, missed)
		}
	}
}

// report is docs/reliability.md.
func report(all []fault, began time.Time) string {
	var b strings.Builder
	b.WriteString("# What was measured under faults\n\n<!-- Generated; do not edit. -->\n\n")
	b.WriteString("Real worker processes, a real nats-server and a scripted Chat API, on loopback; in every scenario each\n" +
		"recipient is accounted for. The column *must hold* is demanded on any machine, and a test: CI runs it by\n\n")
	fmt.Fprintf(&b, "```sh\n%s\n```\n\n", faultsCommand)
	b.WriteString("The column *on a quiet machine* holds bounds of times and of what depends on them. They are demanded only when\n" +
		"this page is written, which fails if one of them is not met:\n\n")
	fmt.Fprintf(&b, "```sh\n%s\n```\n\n", reportCommand)
	fmt.Fprintf(&b, "| | |\n|---|---|\n| machine | %d cores, %s/%s%s |\n| versions | %s, nats-server %s |\n| run | %s, %.0f s in all |\n\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, loadAverage(), runtime.Version(), broker.Version,
		began.UTC().Format("2006-01-02 15:04 UTC"), time.Since(began).Seconds())
	b.WriteString("*Lost*: neither delivered to nor among the dead letters. *Repeated*: delivered to again, each time counted.\n" +
		"*Calls*: requests that the Chat API got, whatever it answered.\n\n")
	b.WriteString("| scenario | what was done | must hold | on a quiet machine | measured | |\n|---|---|---|---|---|---|\n")
	for _, f := range all {
		met := "met"
		if !f.kept {
			met = "**NOT MET**"
		} else if len(f.figures.missed) > 0 {
			met = "**NOT MET**: " + strings.Join(f.figures.missed, "; ")
		}
		cell := strings.NewReplacer("|", `\|`, "\n", " ").Replace
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s; %.0f s in all | %s |\n", strings.ReplaceAll(f.name, "_", " "), cell(f.did), cell(f.demanded),
			cell(f.bounded), cell(strings.Join(f.figures.said, "; ")), f.seconds, cell(met))
	}
	return b.String()
}

// loadAverage says how busy the machine was, where that can be known.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return ""
	}
	return ", load average at the end " + strings.Join(fields[:3], " ")
}
