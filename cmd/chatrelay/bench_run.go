package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/bareloop"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// Who does the work of a run.
const (
	programWorker = "worker"
	programBare   = "bare loop"
)

func inMS(d time.Duration) float64 { return float64(d) / 1e6 }

// measurement is one run of one program.
type measurement struct {
	app      *app
	flags    benchFlags
	workload workload
	program  string
	dir      string

	broker   *child // nil: a NATS that was there
	state    string // directory of the broker's state
	used     bool   // jobs were published to a NATS that was there
	api      *child
	natsURL  string
	at       apiReady
	q        *queue.Queue
	children []*child // that work
	acked    []int64  // when each job was stored, unix nanoseconds, if the workload is timed
}

func (m *measurement) run(ctx context.Context) (benchRun, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer m.end()
	if err := m.prepare(ctx); err != nil {
		return benchRun{}, err
	}
	run, err := m.measure(ctx)
	if err != nil {
		return run, err
	}
	for _, c := range m.children {
		if err := c.stop(); err != nil {
			return run, err
		}
	}
	return run, m.account(ctx, &run)
}

// prepare starts NATS and the API, and publishes what is to be there before the program starts.
func (m *measurement) prepare(ctx context.Context) (err error) {
	m.natsURL = m.flags.nats.url
	if m.natsURL == "" {
		if err := m.startBroker(ctx); err != nil {
			return err
		}
	}
	w := m.workload
	m.api, err = startChild(ctx, m.dir, "api", nil, "bench", "api", "--jobs", strconv.Itoa(w.jobs), "--recipients", strconv.Itoa(w.recipients),
		"--projects", strconv.Itoa(w.projects), "--messages", strconv.Itoa(w.messages), "--latency", w.latency.String(), "--timed="+strconv.FormatBool(w.timed))
	if err != nil {
		return err
	}
	if err := m.api.ready(&m.at); err != nil {
		return err
	}
	nats := natsFlags{url: m.natsURL, creds: m.flags.nats.creds}
	if m.q, err = nats.connect(ctx, "bench"); err != nil {
		return err
	}
	if m.broker != nil {
		_, err = m.q.Init(ctx, queue.InitConfig{MaxBytes: -1})
	} else if err = m.mayUse(ctx); err == nil {
		m.used = true
	}
	if err != nil || w.rate > 0 {
		return err
	}
	return m.publish(ctx)
}

func (m *measurement) startBroker(ctx context.Context) (err error) {
	if m.state, err = os.MkdirTemp(m.dir, "nats-"); err != nil {
		return err
	}
	if m.broker, err = startChild(ctx, m.dir, "broker", nil, "bench", "broker", "--dir", filepath.Join(m.state, "jetstream")); err != nil {
		return err
	}
	var at brokerReady
	err = m.broker.ready(&at)
	m.natsURL = at.URL
	return err
}

// mayUse refuses a NATS that is in use: other workers would tell the recipients of the benchmark,
// and its worker would tell theirs nothing.
func (m *measurement) mayUse(ctx context.Context) error {
	if err := m.q.Check(ctx); err != nil {
		return err
	}
	st, err := m.q.Status(ctx, 0)
	if err != nil {
		return err
	}
	if n := len(st.Workers); n > 0 {
		return fmt.Errorf("%s: %s at work there; stop them, or they would call for jobs of the benchmark", m.natsURL, term.Counted(n, "worker"))
	}
	if st.Queued+uint64(st.Held)+st.Due+st.Waiting > 0 {
		return fmt.Errorf("%s: its streams hold jobs, for which the benchmark would call an API that tells nobody; use another NATS", m.natsURL)
	}
	return nil
}

// publish stores all jobs, as large as they are.
func (m *measurement) publish(ctx context.Context) error {
	var failed error
	pub := m.q.Publisher(queue.PublisherConfig{MaxRecipients: m.workload.recipients})
	err := pub.PublishAll(ctx, m.jobs(), func(_ queue.Receipt, err error) {
		if err != nil && failed == nil {
			failed = err
		}
	})
	return errors.Join(err, failed)
}

// jobs are the workload's, with ids that differ from those of earlier runs.
func (m *measurement) jobs() iter.Seq2[queue.Priority, queue.Job] {
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	return func(yield func(queue.Priority, queue.Job) bool) {
		for n := range m.workload.jobs {
			job := m.workload.job(n)
			job.ID += "-" + run
			if !yield(queue.Normal, job) {
				return
			}
		}
	}
}

// measure times the program, from its start to the empty stream.
func (m *measurement) measure(ctx context.Context) (benchRun, error) {
	w := m.workload
	run := benchRun{
		Workload: w.name, Program: m.program, Replicas: m.flags.replicas, Jobs: w.jobs, Recipients: w.jobs * w.recipients, Projects: w.projects,
		IdealCalls: w.ideal(), Concurrency: m.flags.concurrency, LingerMS: inMS(m.flags.linger), LatencyMS: inMS(w.latency), PublishRate: w.rate,
	}
	broker, api := cpuOf(m.broker), cpuOf(m.api)
	begun := time.Now()
	for n := range m.flags.replicas {
		c, err := m.startProgram(ctx, n)
		if err != nil {
			return run, err
		}
		m.children = append(m.children, c)
	}
	if w.rate > 0 {
		time.Sleep(time.Second) // so that it is there, and idle
	} else if err := m.wait(ctx, time.Millisecond, func(b queue.Backlog) bool { return b.Held > 0 || b.Stored < uint64(w.jobs) }); err != nil {
		return run, err
	}
	first := time.Now()
	run.Start = first.Sub(begun).Seconds()
	if w.rate > 0 {
		if err := m.publishPaced(ctx, &run); err != nil {
			return run, err
		}
	}
	if err := m.wait(ctx, 10*time.Millisecond, func(b queue.Backlog) bool { return b.Stored == 0 }); err != nil {
		return run, err
	}
	run.Seconds = time.Since(first).Seconds()
	run.JobsRate = float64(w.jobs) / run.Seconds
	run.BrokerCPU, run.APICPU = cpuOf(m.broker)-broker, cpuOf(m.api)-api
	for _, c := range m.children {
		cpu, peak, _ := c.usage()
		run.WorkerCPU += cpu
		run.PeakMemory = max(run.PeakMemory, peak)
	}
	return run, nil
}

func cpuOf(c *child) float64 {
	if c == nil {
		return 0
	}
	cpu, _, _ := c.usage()
	return cpu
}

func (m *measurement) startProgram(ctx context.Context, n int) (*child, error) {
	name := fmt.Sprintf("%s-%d", m.program, n)
	common := []string{"--nats-url", m.natsURL, "--nats-creds", m.flags.nats.creds, "--api-url", m.at.Chat, "--token-url", m.at.Token,
		"--max-recipients", strconv.Itoa(m.workload.limit), "--concurrency", strconv.Itoa(m.flags.concurrency)}
	if m.program == programBare {
		return startChild(ctx, m.dir, name, nil, append([]string{"bench", "bare"}, common...)...)
	}
	env := []string{"CHATRELAY_CLIENT_ID=" + chatapitest.DefaultClientID, "CHATRELAY_CLIENT_SECRET=" + chatapitest.DefaultClientSecret}
	return startChild(ctx, m.dir, name, env, append([]string{"bench", "worker", "--http-addr", "127.0.0.1:0", "--linger", m.flags.linger.String()}, common...)...)
}

// patience is how long a stream may go without getting shorter.
const benchPatience = time.Minute

// wait asks the broker, every pause at most, until done likes what it hears: of the job stream, and
// once that is empty, of what came due.
func (m *measurement) wait(ctx context.Context, pause time.Duration, done func(queue.Backlog) bool) error {
	begun := time.Now()
	shortest, since := ^uint64(0), begun
	for stream := queue.JobStream(queue.Normal); ; {
		b, err := m.q.Backlog(ctx, stream)
		if err != nil {
			return err
		}
		if b.Stored < shortest {
			shortest, since = b.Stored, time.Now()
		}
		switch {
		case !done(b):
		case stream == queue.LaterStream || b.Stored > 0:
			return nil
		default:
			stream, shortest = queue.LaterStream, ^uint64(0)
			continue
		}
		for _, c := range m.children {
			select {
			case <-c.ended:
				return c.stop()
			default:
			}
		}
		if time.Since(since) > benchPatience {
			return fmt.Errorf("%d jobs are left in %s, and nothing happens%s", b.Stored, stream, m.children[0].said())
		}
		// Asking costs the broker something: at most one in a hundred parts of the time goes by between.
		select {
		case <-time.After(min(pause, max(time.Millisecond, time.Since(begun)/100))):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// account demands that every recipient was told once, and nothing else happened.
func (m *measurement) account(ctx context.Context, run *benchRun) error {
	var t tallied
	if err := ask(ctx, m.at.Records+"tally", &t); err != nil {
		return err
	}
	run.Calls, run.MaxFlight, run.APILatency = t.Calls, t.MaxFlight, t.Latency
	if lost := run.Recipients - t.Told; lost > 0 || t.Twice > 0 || t.Wrong > 0 {
		return fmt.Errorf("of %d recipients %d were not told, %d more than once, and %d something else", run.Recipients, lost, t.Twice, t.Wrong)
	}
	if !m.workload.timed {
		return nil
	}
	var told []int64
	if err := ask(ctx, m.at.Records+"times", &told); err != nil {
		return err
	}
	ms := make([]float64, len(told))
	for i := range told {
		ms[i] = float64(told[i]-m.acked[i]) / 1e6
	}
	slices.Sort(ms)
	run.Way = &benchLatency{P50: quantile(ms, .5), P99: quantile(ms, .99), Max: ms[len(ms)-1]}
	return nil
}

// end leaves nothing behind.
func (m *measurement) end() {
	if m.q != nil {
		m.q.Close()
	}
	for _, c := range append(m.children, m.api, m.broker) {
		if c != nil {
			_ = c.stop() // what it has to say is known, or does not matter any more
		}
	}
	if m.state != "" {
		_ = os.RemoveAll(m.state) // at the latest with all the rest
	}
	if !m.used {
		return
	}
	// Left there, the jobs of a run that was broken off would be called for by the next worker.
	ctx, cancel := context.WithTimeout(context.Background(), quick)
	defer cancel()
	if err := bareloop.Purge(ctx, m.natsURL, m.flags.nats.creds, queue.JobStream(queue.Normal), queue.LaterStream); err != nil {
		fmt.Fprintf(m.app.stderr, "chatrelay: jobs of the benchmark may be left in %s: %v\n", m.natsURL, err)
	}
}
