package bench

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// prepare starts NATS and the API, and publishes what is to be there before the program starts.
func (m *measurement) prepare(ctx context.Context) (err error) {
	m.natsURL = m.cfg.NATSURL
	if m.natsURL == "" {
		if err := m.startBroker(ctx); err != nil {
			return err
		}
	}
	w := m.workload
	m.api, err = startChild(ctx, m.dir, "api", nil, "bench", "api", "--jobs", strconv.Itoa(w.Jobs), "--recipients", strconv.Itoa(w.Recipients),
		"--projects", strconv.Itoa(w.Projects), "--messages", strconv.Itoa(w.Messages), "--latency", w.Latency.String(), "--timed="+strconv.FormatBool(w.Timed))
	if err != nil {
		return err
	}
	if err := m.api.ready(&m.at); err != nil {
		return err
	}
	if m.q, err = queue.Connect(ctx, queue.Config{URL: m.natsURL, Creds: m.cfg.NATSCreds, Name: "chatrelay bench"}); err != nil {
		return err
	}
	if m.broker != nil {
		_, err = m.q.Init(ctx, queue.InitConfig{MaxBytes: -1})
	} else if err = m.mayUse(ctx); err == nil {
		m.used = true
	}
	if err != nil || w.Rate > 0 {
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

// mayUse refuses a NATS that is in use: other workers would deliver jobs of the benchmark, and its
// worker would take their jobs to an API that delivers nothing.
func (m *measurement) mayUse(ctx context.Context) error {
	if err := m.q.Check(ctx); err != nil {
		return err
	}
	st, err := m.q.Status(ctx, 0)
	if err != nil {
		return err
	}
	if n := len(st.Workers); n > 0 {
		return fmt.Errorf("%s: %s at work there; stop them, or they would call for jobs of the benchmark", queue.RedactURL(m.natsURL), term.Counted(n, "worker"))
	}
	if st.Queued+uint64(st.Held)+st.Due+st.Scheduled > 0 {
		return fmt.Errorf("%s: its streams hold jobs, for which the benchmark would call an API that delivers nothing; use another NATS", queue.RedactURL(m.natsURL))
	}
	return nil
}

// publish stores all jobs, as large as they are.
func (m *measurement) publish(ctx context.Context) error {
	var failed error
	pub := m.q.Publisher(queue.PublisherConfig{})
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
		for n := range m.workload.Jobs {
			job := m.workload.job(n)
			job.ID += "-" + run
			if !yield(queue.Normal, job) {
				return
			}
		}
	}
}
