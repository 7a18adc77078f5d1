// Package bareloop is what `chatrelay bench` compares the worker with: the shortest program that
// does the same deliveries when nothing ever goes wrong.
//
//	fetch what is there ─▶ merge perfectly ─▶ POST ─▶ ack ─▶ fetch again
//
// It does one thing after the other: nothing is fetched while calls are in flight.
//
// It repeats no call, keeps no dead letter, renews no lease, confirms no ack, and knows neither
// turns nor gates nor replies that name somebody. It imports nothing of ours, so that what makes
// the worker slow cannot make it slow as well.
package bareloop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says what is drained into what. All fields are required.
type Config struct {
	NATSURL string
	Creds   string // path of a NATS credentials file; empty: none
	// Stream and Consumer name the work queue.
	Stream, Consumer string
	// ChatURL is where calls go, with Token as the bearer.
	ChatURL, Token string
	// MaxRecipients of one call, and Concurrency of the calls.
	MaxRecipients, Concurrency int
}

// fetchSize is how many jobs are taken at once: enough to merge perfectly, and what the worker
// reads ahead, too.
const fetchSize = 20_000

type job struct {
	ProjectID string   `json:"project_id"`
	Message   string   `json:"message"`
	WovenIDs  []string `json:"woven_ids"`
}

// call is one POST and the messages that it settles.
type call struct {
	job
	msgs []jetstream.Msg
}

type loop struct {
	cfg  Config
	http *http.Client
}

// Run drains the queue until ctx ends, and then returns nil.
func Run(ctx context.Context, cfg Config) error {
	nc, js, err := connect(cfg.NATSURL, cfg.Creds)
	if err != nil {
		return err
	}
	defer nc.Close()
	consumer, err := js.Consumer(ctx, cfg.Stream, cfg.Consumer)
	if err != nil {
		return fmt.Errorf("look up the consumer of %s: %w", cfg.Stream, err)
	}
	l := &loop{cfg: cfg, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: cfg.Concurrency, WriteBufferSize: 64 << 10, DisableCompression: true,
	}}}
	for ctx.Err() == nil {
		msgs, err := fetch(ctx, consumer)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("fetch: %w", err)
		}
		calls, err := merge(msgs, cfg.MaxRecipients)
		if err != nil {
			return err
		}
		if err := l.deliver(ctx, calls); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// Purge empties streams of what a measurement that was broken off has left in them.
func Purge(ctx context.Context, url, creds string, streams ...string) error {
	nc, js, err := connect(url, creds)
	if err != nil {
		return err
	}
	defer nc.Close()
	for _, name := range streams {
		stream, err := js.Stream(ctx, name)
		if err == nil {
			err = stream.Purge(ctx)
		}
		if err != nil {
			return fmt.Errorf("purge %s: %w", name, err)
		}
	}
	return nil
}

func connect(url, creds string) (*nats.Conn, jetstream.JetStream, error) {
	var opts []nats.Option
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("open JetStream: %w", err)
	}
	return nc, js, nil
}

// fetch waits for a job, and takes what is there besides.
func fetch(ctx context.Context, consumer jetstream.Consumer) ([]jetstream.Msg, error) {
	batch, err := consumer.FetchNoWait(fetchSize)
	if err != nil {
		return nil, err
	}
	var msgs []jetstream.Msg
	for msg := range batch.Messages() {
		msgs = append(msgs, msg)
	}
	if len(msgs) > 0 || batch.Error() != nil {
		return msgs, batch.Error()
	}
	one, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
	if errors.Is(err, nats.ErrTimeout) || ctx.Err() != nil {
		return nil, nil //nolint:nilerr // nothing came in time, or the loop is stopping
	}
	if err != nil {
		return nil, err
	}
	return []jetstream.Msg{one}, nil
}

// merge makes the fewest calls for the jobs.
func merge(msgs []jetstream.Msg, limit int) ([]*call, error) {
	type key struct{ project, message string }
	open := map[key]*call{}
	var calls []*call
	for _, msg := range msgs {
		var j job
		if err := json.Unmarshal(msg.Data(), &j); err != nil {
			return nil, fmt.Errorf("read a job: %w", err)
		}
		k := key{j.ProjectID, j.Message}
		for rest := j.WovenIDs; len(rest) > 0; {
			c := open[k]
			if c == nil || len(c.WovenIDs) >= limit {
				c = &call{job: job{j.ProjectID, j.Message, nil}}
				open[k] = c
				calls = append(calls, c)
			}
			n := min(len(rest), limit-len(c.WovenIDs))
			c.WovenIDs = append(c.WovenIDs, rest[:n]...)
			if rest = rest[n:]; len(rest) == 0 {
				c.msgs = append(c.msgs, msg) // with its last call, the job is done
			}
		}
	}
	return calls, nil
}

// deliver makes the calls and acks what they carried.
func (l *loop) deliver(ctx context.Context, calls []*call) error {
	work := make(chan *call)
	var group sync.WaitGroup
	var once sync.Once
	var failed error
	for range min(l.cfg.Concurrency, len(calls)) {
		group.Go(func() {
			for c := range work {
				if err := l.settle(ctx, c); err != nil {
					once.Do(func() { failed = err })
				}
			}
		})
	}
	for _, c := range calls {
		work <- c
	}
	close(work)
	group.Wait()
	return failed
}

func (l *loop) settle(ctx context.Context, c *call) error {
	body, err := json.Marshal(c.job)
	if err != nil {
		return fmt.Errorf("encode a call: %w", err)
	}
	// A job is acked with its last call, while others of it may be in flight: these are finished even
	// when the loop is to end.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, l.cfg.ChatURL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+l.cfg.Token)
	resp, err := l.http.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("a call was answered %s", resp.Status)
	}
	for _, msg := range c.msgs {
		if err := msg.Ack(); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
	}
	return nil
}
