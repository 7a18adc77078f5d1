package dev

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/worker"
)

// next prints what to try from another terminal.
func (d *demo) next() {
	self := selfCommand()
	d.say("\nTry next, from another terminal:\n")
	d.say("  %s publish --nats-url %s --project %s --message Hello --to w-1 --to unknown-2", self, d.url, cafe)
	d.say("  %s dead list --nats-url %s", self, d.url)
	d.say("  %s dead replay --nats-url %s --all-projects --yes", self, d.url)
	d.say("\n(w-new has registered meanwhile, so the replay reaches w-new; the others are rejected again.)\nCtrl-C ends it all.\n")
}

// selfCommand is how this program was called, in a form that works in another terminal.
func selfCommand() string {
	path, err := os.Executable()
	switch {
	case err != nil:
		return "chatrelay"
	case strings.Contains(path, "go-build"):
		return "go run ./cmd/chatrelay"
	}
	return path
}

// say prints a line for people.
func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.out
	if d.json {
		out = d.err
	}
	fmt.Fprintf(out, format+"\n", args...)
}

func (d *demo) call(c chatapitest.Call) {
	d.mu.Lock()
	d.calls++
	d.mu.Unlock()
	delivered, colour := len(c.Recipients)-c.Rejected, term.Green
	if !c.Delivered {
		delivered = 0
	}
	what := fmt.Sprintf("%d delivered, %d rejected", delivered, c.Rejected)
	switch {
	case c.Rejected > 0:
		colour = term.Yellow
	case !c.Delivered:
		what, colour = "not delivered", term.Red
	}
	d.say("%s %-9s %s to %s: answered %d, %s", term.Paint(d.out, colour, "call        "), projectName(c.ProjectID),
		quote(c.Message), term.Counted(len(c.Recipients), "recipient"), c.Status, what)
}

// event shows what the calls alone do not, and remembers what was shown.
func (d *demo) event(e worker.Event) {
	d.show(e)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case e.Kind == worker.EventSettled:
		d.settled += e.Jobs
	case e.Kind == worker.EventGate && e.Wait > 0:
		d.paused[e.ProjectID] = true
	case e.Kind == worker.EventGate:
		delete(d.paused, e.ProjectID)
	}
}

func (d *demo) show(e worker.Event) {
	for _, l := range e.Letters {
		detail := ""
		if len(l.Failures) > 0 {
			detail = l.Failures[0].Detail
		}
		who := ""
		if len(l.WovenIDs) > 0 {
			who = term.Plain(strings.Join(l.WovenIDs, " ")) + ": "
		}
		d.say("%s %-9s %-22s %s%s, %s", term.Paint(d.out, term.Red, "dead letter "), projectName(l.ProjectID), term.Clip(term.Plain(l.JobID), 22),
			who, l.Reason, term.Clip(term.Plain(detail), 100))
	}
	switch {
	case e.Kind == worker.EventGate && e.Wait > 0:
		d.say("%s %-9s no calls for %v, then one to probe", term.Paint(d.out, term.Yellow, "pause       "), projectName(e.ProjectID), e.Wait.Round(10*time.Millisecond))
	case e.Kind == worker.EventGate:
		d.say("%s %-9s works again", term.Paint(d.out, term.Green, "resume      "), projectName(e.ProjectID))
	case e.Kind == worker.EventDeferred:
		d.say("later        %s will come back when due", term.Counted(e.Jobs, "job"))
	case e.Kind == worker.EventTrouble:
		d.say("%s %s", term.Paint(d.out, term.Red, "trouble     "), term.Plain(e.Err.Error()))
	}
}

func quote(message string) string { return "“" + term.Clip(term.Plain(message), 40) + "”" }
