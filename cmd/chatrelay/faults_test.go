package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/queue/broker"
)

var reportTo = flag.String("report", "", "write what TestFaults measured to this file, from the directory of the package")

const reportCommand = "go test ./cmd/chatrelay -run TestFaults -report ../../docs/reliability.md"

// A fault is one scenario: something goes wrong while real processes work, and every recipient is
// accounted for. What was done and demanded goes into the report, with the figures.
type fault struct {
	name           string
	did, demanded  string
	run            func(*testing.T, *figures)
	alone          bool // it measures short times, and needs the machine for itself
	figures        figures
	seconds        float64
	ran, succeeded bool
}

// figures are what one scenario measured, in words.
type figures struct{ said []string }

func (f *figures) add(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

// account says what became of everybody, which must be that nobody was lost, or buried.
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
	f.add("of %s recipients %d lost, %d repeated, %d buried; %s calls", thousands(got.recipients), got.lost, got.repeated, got.buried, thousands(s.api.Counts().Calls))
	return got
}

// TestFaults runs every scenario of faults. With -report it writes what they measured.
func TestFaults(t *testing.T) {
	began := time.Now()
	all := slices.Clone(faults)
	t.Run("together", func(t *testing.T) {
		for i := range all {
			if !all[i].alone {
				all[i].test(t)
			}
		}
	})
	for i := range all {
		if all[i].alone {
			all[i].test(t)
		}
	}
	for _, f := range all {
		if f.ran {
			t.Logf("%s: %s (%.0f s)", f.name, strings.Join(f.figures.said, "; "), f.seconds)
		} else if *reportTo != "" {
			t.Fatalf("%s did not run: nothing is written to %s", f.name, *reportTo)
		}
	}
	if *reportTo != "" {
		if err := os.MkdirAll(filepath.Dir(*reportTo), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(*reportTo, []byte(report(all, began)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fault) test(t *testing.T) {
	t.Run(f.name, func(t *testing.T) {
		var began time.Time
		t.Cleanup(func() { f.ran, f.succeeded, f.seconds = true, !t.Failed(), time.Since(began).Seconds() })
		if !f.alone {
			t.Parallel() // mostly they wait
		}
		began = time.Now()
		f.run(t, &f.figures)
	})
}

// report is docs/reliability.md.
func report(all []fault, began time.Time) string {
	var b strings.Builder
	b.WriteString("# What was measured under faults\n\n<!-- Generated; do not edit. -->\n\n")
	b.WriteString("Real worker processes, a real nats-server and a scripted Chat API, on loopback; in every scenario each\n" +
		"recipient is accounted for. This page is written by one command, and the same demands are tests\n" +
		"(`go test -race ./...`), so that a change that breaks one fails:\n\n")
	fmt.Fprintf(&b, "```sh\n%s\n```\n\n", reportCommand)
	fmt.Fprintf(&b, "| | |\n|---|---|\n| machine | %d cores, %s/%s%s |\n| versions | %s, nats-server %s |\n| run | %s, %.0f s in all%s |\n\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, loadAverage(), runtime.Version(), broker.Version,
		began.UTC().Format("2006-01-02 15:04 UTC"), time.Since(began).Seconds(), raceNote())
	b.WriteString("*Lost*: neither told nor among the dead letters. *Repeated*: told again, each time counted. *Calls*: requests\n" +
		"that the Chat API got, whatever it answered. On a machine that others load as well the times are longer;\n" +
		"under the race detector those that workers spend computing may be ten times as long.\n\n")
	b.WriteString("| scenario | what was done | demanded | measured | |\n|---|---|---|---|---|\n")
	for _, f := range all {
		met := "met"
		if !f.succeeded {
			met = "**NOT MET**"
		}
		cell := strings.NewReplacer("|", `\|`, "\n", " ").Replace
		fmt.Fprintf(&b, "| %s | %s | %s | %s; %.0f s in all | %s |\n", strings.ReplaceAll(f.name, "_", " "), cell(f.did), cell(f.demanded), cell(strings.Join(f.figures.said, "; ")), f.seconds, met)
	}
	return b.String()
}

// loadAverage tells what else the machine did, where that can be known.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return ""
	}
	return ", load average at the end " + strings.Join(fields[:3], " ")
}

// raced tells whether the race detector is at work.
var raced = func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

func raceNote() string {
	if raced {
		return ", with the race detector, which slows everything down"
	}
	return ""
}

// thousands writes 60000 as 60,000.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
