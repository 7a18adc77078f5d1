package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench/bareloop"
	"github.com/chatrelay/chatrelay/queue"
)

// measurement is one run of one program.
type measurement struct {
	cfg      Config
	workload Workload
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

func (m *measurement) run(ctx context.Context) (Run, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer m.end()
	if err := m.prepare(ctx); err != nil {
		return Run{}, err
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

// measure times the program, from its start to the empty stream.
func (m *measurement) measure(ctx context.Context) (Run, error) {
	w := m.workload
	run := Run{
		Workload: w.Name, Program: m.program, Replicas: m.cfg.Replicas, Jobs: w.Jobs, Recipients: w.Jobs * w.Recipients, Projects: w.Projects,
		IdealCalls: w.Ideal(), Concurrency: m.cfg.Concurrency, LingerMS: InMS(m.cfg.Linger), LatencyMS: InMS(w.Latency), PublishRate: w.Rate,
	}
	broker, api := cpuOf(m.broker), cpuOf(m.api)
	begun := time.Now()
	for n := range m.cfg.Replicas {
		c, err := m.startProgram(ctx, n)
		if err != nil {
			return run, err
		}
		m.children = append(m.children, c)
	}
	if w.Rate > 0 {
		time.Sleep(time.Second) // so that it is there, and idle
	} else if err := m.wait(ctx, time.Millisecond, func(b queue.Backlog) bool { return b.Held > 0 || b.Stored < uint64(w.Jobs) }); err != nil {
		return run, err
	}
	first := time.Now()
	run.Start = first.Sub(begun).Seconds()
	if w.Rate > 0 {
		if err := m.publishPaced(ctx, &run); err != nil {
			return run, err
		}
	}
	if err := m.wait(ctx, 10*time.Millisecond, func(b queue.Backlog) bool { return b.Stored == 0 }); err != nil {
		return run, err
	}
	run.Seconds = time.Since(first).Seconds()
	run.JobsRate = float64(w.Jobs) / run.Seconds
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
	env := []string{"CHATRELAY_NATS_URL=" + m.natsURL} // which may hold a password; all can read a command line
	common := []string{"--nats-creds", m.cfg.NATSCreds, "--api-url", m.at.Chat, "--token-url", m.at.Token,
		"--max-recipients", strconv.Itoa(m.workload.Limit), "--concurrency", strconv.Itoa(m.cfg.Concurrency)}
	if m.program == ProgramBare {
		return startChild(ctx, m.dir, name, env, append([]string{"bench", "bare"}, common...)...)
	}
	env = append(env, "CHATRELAY_CLIENT_ID="+chatapitest.DefaultClientID, "CHATRELAY_CLIENT_SECRET="+chatapitest.DefaultClientSecret)
	return startChild(ctx, m.dir, name, env, append([]string{"bench", "worker", "--http-addr", "127.0.0.1:0", "--linger", m.cfg.Linger.String()}, common...)...)
}

// purgeTimeout bounds the removal of jobs that a run left in a NATS that was there.
const purgeTimeout = 20 * time.Second

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
	ctx, cancel := context.WithTimeout(context.Background(), purgeTimeout)
	defer cancel()
	if err := bareloop.Purge(ctx, m.natsURL, m.cfg.NATSCreds, queue.JobStream(queue.Normal), queue.LaterStream); err != nil {
		fmt.Fprintf(m.cfg.Err, "chatrelay: jobs of the benchmark may be left in %s: %v\n", queue.RedactURL(m.natsURL), err)
	}
}
