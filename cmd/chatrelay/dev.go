package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
	"github.com/chatrelay/chatrelay/worker"
)

// devFlags configure a run of everything on this machine.
type devFlags struct {
	workerFlags
	data string
	port int
	once bool
}

func (a *app) devCommand() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: NATS, a scripted Chat API, a worker, and sample jobs",
		Long: `Runs NATS with JetStream, a Chat API that follows the documented one, and a worker in one process,
publishes some sample jobs, and shows what becomes of them. Nothing else is needed, and nobody real
is told anything.

The scripted Chat API rejects recipients whose id begins with unknown- or member-.`,
		Example: `  chatrelay dev
  chatrelay dev --once                 # for scripts: end after the sample, 0 if all was accounted for
  chatrelay dev --data ./chatrelay-dev # keep the state`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.dev(cmd.Context(), f)
		},
	}
	f.registerCore(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVar(&f.data, "data", "", "directory that keeps the state; without it, a temporary one that is removed at the end")
	flags.IntVar(&f.port, "nats-port", 4222, "where NATS listens on loopback; if that is taken, at any free port")
	flags.BoolVar(&f.once, "once", false, "end after the sample")
	flags.StringVar(&f.httpAddr, "http-addr", "127.0.0.1:0", "where to serve /healthz, /readyz and /metrics; port 0: any free one")
	flags.Lookup("log-level").DefValue, f.logLevel = "error", "error"
	cmd.AddCommand(a.devAPICommand())
	return cmd
}

func (a *app) dev(ctx context.Context, f devFlags) error {
	dir := f.data
	if dir == "" {
		temp, err := os.MkdirTemp("", "chatrelay-dev-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = temp
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return usagef("--data: %w", err)
	}
	nats, err := broker.Start(broker.Config{Port: freePort(f.port), Dir: filepath.Join(dir, "jetstream")})
	if err != nil {
		return err
	}
	defer nats.Stop()
	d := &demo{app: a, url: nats.URL()}
	d.api = chatapitest.Start(chatapitest.Config{OnCall: d.call})
	defer d.api.Close()
	f.nats = natsFlags{url: nats.URL()}
	f.api.URL, f.api.TokenURL = d.api.ChatURL(), d.api.TokenURL()
	f.api.ClientID, f.api.ClientSecret = chatapitest.DefaultClientID, chatapitest.DefaultClientSecret
	f.worker.Hook = d.event

	q, err := f.nats.connect(ctx, "dev")
	if err != nil {
		return err
	}
	defer q.Close()
	if _, err := q.Init(ctx, queue.InitConfig{MaxBytes: 64 << 20}); err != nil {
		return err
	}
	d.say("NATS with JetStream   %s", nats.URL())
	d.say("scripted Chat API     %s", d.api.ChatURL())
	d.say("state in              %s\n", dir)

	client, err := chatapi.New(f.api)
	if err != nil {
		return err
	}
	log, err := a.newLogger(f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	// The worker is to stop before the servers that it needs.
	work, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.runWorker(work, f.workerFlags, client, log) }()
	defer func() {
		stop()
		<-ended
	}()
	missing, err := d.sample(ctx, q, ended)
	if err != nil {
		return err
	}
	if err := d.summary(ctx, q, missing); err != nil || f.once {
		return err
	}
	d.next()
	select {
	case err := <-ended:
		ended <- nil
		return err
	case <-ctx.Done():
		d.say("\nstopping")
		return nil
	}
}

// freePort is the wanted port if it can be had, and otherwise 0, which is any.
func freePort(port int) int {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0
	}
	_ = l.Close()
	return port
}

// demo shows the way of the jobs in plain words.
type demo struct {
	app *app
	api *chatapitest.Server
	url string

	mu    sync.Mutex // guards the output and what follows
	calls int
	jobs  []sampleJob
}

type sampleJob struct {
	priority queue.Priority
	job      queue.Job
}

// The projects of the sample.
const (
	cafe     = "0f8fad5b-d9cb-469f-a165-70867728950e"
	festival = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
)

func projectName(id string) string {
	switch id {
	case cafe:
		return "café"
	case festival:
		return "festival"
	}
	return clip(plain(id), 8)
}

// sampleJobs are fresh at every start: their ids end in the time, so that a kept state does not
// take them for repetitions.
func sampleJobs(now time.Time) []sampleJob {
	run := strconv.FormatInt(now.UnixMilli(), 36)
	job := func(p queue.Priority, project, id, message string, to ...string) sampleJob {
		return sampleJob{p, queue.Job{ID: id + "-" + run, ProjectID: project, Message: message, WovenIDs: to}}
	}
	jobs := []sampleJob{
		job(queue.Urgent, festival, "storm", "Storm warning: please leave the meadow.", "w-1", "w-2", "w-3"),
		job(queue.Bulk, festival, "moved", "The festival has moved to the east park.", "w-1", "w-2", "w-4", "member-jun"),
	}
	for i, who := range []string{"w-11", "w-12", "w-13", "unknown-mika", "w-14"} {
		jobs = append(jobs, job(queue.Normal, cafe, fmt.Sprintf("order-%d", 8731+i), "Your coffee is ready.", who))
	}
	return append(jobs, job(queue.Normal, cafe, "newcomer", "Welcome! Your first coffee is on us.", "w-new", "w-15"))
}

// sample publishes the sample and waits until every recipient is accounted for. It returns those
// who are not after a minute.
func (d *demo) sample(ctx context.Context, q *queue.Queue, ended chan error) (missing []string, err error) {
	d.jobs = sampleJobs(time.Now())
	d.api.Reject("user not found", "w-new")
	d.api.Script(chatapitest.Fault{Project: festival, Status: 503, Body: "busy"})
	pub := q.Publisher(queue.PublisherConfig{})
	for _, s := range d.jobs {
		if _, err := pub.Publish(ctx, s.priority, s.job); err != nil {
			return nil, err
		}
		d.say("job          %-9s %-22s %s to %s", projectName(s.job.ProjectID), s.job.ID, quote(s.job.Message), counted(len(s.job.WovenIDs), "recipient"))
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for {
		if missing, err = d.unaccounted(ctx, q); err != nil || len(missing) == 0 {
			break
		}
		select {
		case <-tick.C:
			continue
		case err := <-ended:
			ended <- nil
			return missing, errors.Join(errors.New("the worker ended"), err)
		case <-ctx.Done():
			return missing, errors.New("interrupted before the sample was done")
		case <-timeout:
		}
		break
	}
	// Whoever was not found has registered meanwhile, so that a replay has something to show.
	d.api.Reject("", "w-new")
	return missing, err
}

// unaccounted lists the sample's recipients that were neither told exactly once nor dead-lettered.
func (d *demo) unaccounted(ctx context.Context, q *queue.Queue) (missing []string, err error) {
	dead, err := d.sampleLetters(ctx, q)
	if err != nil {
		return nil, err
	}
	buried := map[string]bool{}
	for _, l := range dead {
		for _, id := range l.WovenIDs {
			buried[l.JobID+" "+id] = true
		}
	}
	for _, s := range d.jobs {
		for _, id := range s.job.WovenIDs {
			told := d.api.Told(s.job.ProjectID, s.job.Message, id)
			if dead := buried[s.job.ID+" "+id]; (told == 1) == dead {
				missing = append(missing, fmt.Sprintf("%s of job %s: told %d times, dead letter %v", id, s.job.ID, told, dead))
			}
		}
	}
	return missing, nil
}

func (d *demo) sampleLetters(ctx context.Context, q *queue.Queue) (dead []queue.DeadLetter, err error) {
	ours := map[string]bool{}
	for _, s := range d.jobs {
		ours[s.job.ID] = true
	}
	err = q.DeadLetters(ctx, queue.Filter{}, func(l queue.DeadLetter) bool {
		if ours[l.JobID] {
			dead = append(dead, l)
		}
		return true
	})
	return dead, err
}

// summary tells what the sample came to, and fails if somebody is missing.
func (d *demo) summary(ctx context.Context, q *queue.Queue, missing []string) error {
	dead, err := d.sampleLetters(ctx, q)
	if err != nil {
		return err
	}
	recipients, buried := 0, 0
	for _, s := range d.jobs {
		recipients += len(s.job.WovenIDs)
	}
	for _, l := range dead {
		buried += len(l.WovenIDs)
	}
	d.mu.Lock()
	calls := d.calls
	d.mu.Unlock()
	sum := map[string]any{"jobs": len(d.jobs), "recipients": recipients, "calls": calls,
		"delivered": recipients - buried - len(missing), "dead": buried, "missing": missing}
	if d.app.output == "json" {
		if err := printJSON(d.app.stdout, sum); err != nil {
			return err
		}
	}
	d.say("\n%s with %s in %s: %d delivered, %d dead-lettered", counted(len(d.jobs), "job"),
		counted(recipients, "recipient"), counted(calls, "call"), recipients-buried-len(missing), buried)
	if len(missing) > 0 {
		return fmt.Errorf("%d recipients are not accounted for:\n  %s", len(missing), strings.Join(missing, "\n  "))
	}
	d.say("every recipient is accounted for")
	return nil
}

// next prints what to try from another terminal.
func (d *demo) next() {
	self := selfCommand()
	d.say("\nTry next, from another terminal:\n")
	d.say("  %s publish --nats-url %s --project %s --message \"Hello from me\" --to w-1 --to unknown-2", self, d.url, cafe)
	d.say("  %s dead list --nats-url %s", self, d.url)
	d.say("  %s dead replay --nats-url %s --all-projects --yes", self, d.url)
	d.say("\n(w-new has registered meanwhile, so the replay will reach them.) Ctrl-C ends it all.\n")
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

// say prints a line; with --output json, where standard output is for the summary, elsewhere.
func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.app.stdout
	if d.app.output == "json" {
		out = d.app.stderr
	}
	fmt.Fprintf(out, format+"\n", args...)
}

func (d *demo) call(c chatapitest.Call) {
	d.mu.Lock()
	d.calls++
	d.mu.Unlock()
	what := fmt.Sprintf("%d told, %d rejected", len(c.Recipients)-c.Rejected, c.Rejected)
	colour := green
	switch {
	case !c.Delivered:
		what, colour = "nobody told", red
	case c.Rejected > 0:
		colour = yellow
	}
	d.say("%s %-9s %s to %s: answered %d, %s", d.paint(colour, "call        "), projectName(c.ProjectID),
		quote(c.Message), counted(len(c.Recipients), "recipient"), c.Status, what)
}

// event shows what the calls alone do not.
func (d *demo) event(e worker.Event) {
	for _, l := range e.Letters {
		detail := ""
		if len(l.Failures) > 0 {
			detail = l.Failures[0].Detail
		}
		d.say("%s %-9s %-22s %s: %s, %s", d.paint(red, "dead letter "), projectName(l.ProjectID), clip(plain(l.JobID), 22),
			plain(strings.Join(l.WovenIDs, " ")), l.Reason, clip(plain(detail), 100))
	}
	switch {
	case e.Kind == worker.EventGate && e.Wait > 0:
		d.say("%s %-9s no calls for %v, then one to probe", d.paint(yellow, "pause       "), projectName(e.ProjectID), e.Wait.Round(10*time.Millisecond))
	case e.Kind == worker.EventGate:
		d.say("%s %-9s works again", d.paint(green, "resume      "), projectName(e.ProjectID))
	case e.Kind == worker.EventDeferred:
		d.say("later        %s will come back in time", counted(e.Jobs, "job"))
	case e.Kind == worker.EventTrouble:
		d.say("%s %v", d.paint(red, "trouble     "), e.Err)
	}
}

func quote(message string) string { return "“" + clip(plain(message), 40) + "”" }

// ANSI colours.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours text on a terminal, unless NO_COLOR (no-color.org) forbids it.
func (d *demo) paint(colour, text string) string {
	if !isTerminal(d.app.stdout) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
