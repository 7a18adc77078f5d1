//go:build faults

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/queue"
)

// deed is what an operator does to NATS or to the workers. It says what is thrown away, and what may repeat.
type deed struct {
	name string
	do   func(*lifecycle)
}

var deeds = []deed{
	{"wipe", func(l *lifecycle) {
		l.server.kill()
		l.lose(time.Time{})
		l.repeatInFlight()
		l.startAgain(true)
		l.prepare()
	}},
	{"remove stream", func(l *lifecycle) {
		l.must(l.js.DeleteStream(l.t.Context(), queue.JobStream(queue.Normal)))
		l.lose(time.Time{})
		l.repeatInFlight()
		l.prepare()
	}},
	{"back up and restore", func(l *lifecycle) {
		began := time.Now()
		b := l.backUp(queue.JobStream(queue.Normal))
		time.Sleep(time.Second) // the load's own time
		l.must(l.js.DeleteStream(l.t.Context(), b.stream))
		l.lose(began)
		l.mayRepeat += b.messages
		l.repeatInFlight()
		l.restore(b)
	}},
	{"remove consumer", func(l *lifecycle) {
		l.must(l.js.DeleteConsumer(l.t.Context(), queue.JobStream(queue.Normal), queue.ConsumerName))
		l.repeatInFlight()
		l.prepare()
	}},
	{"edit duplicate window", func(l *lifecycle) {
		l.edit(func(c *jetstream.StreamConfig) { c.Duplicates = 2 * time.Second })
	}},
	{"edit max_bytes", func(l *lifecycle) { l.edit(func(c *jetstream.StreamConfig) { c.MaxBytes = 64 << 10 }) }},
	{"pause consumer", func(l *lifecycle) {
		stream := queue.JobStream(queue.Normal)
		_, err := l.js.PauseConsumer(l.t.Context(), stream, queue.ConsumerName, time.Now().Add(time.Hour))
		l.must(err)
		time.Sleep(2 * time.Second) // the load's own time
		_, err = l.js.ResumeConsumer(l.t.Context(), stream, queue.ConsumerName)
		l.must(err)
	}},
	{"add worker", func(l *lifecycle) {
		if len(l.workers) < 3 {
			l.workers = append(l.workers, l.worker("--concurrency", "8"))
		}
	}},
	{"stop worker", func(l *lifecycle) {
		if len(l.workers) > 1 {
			p := l.take()
			if code := l.stop(p, sigterm); code != 0 {
				l.t.Errorf("a worker that was stopped ended with %d\n%s", code, tail(p.stderr.String(), 2000))
			}
		}
	}},
	{"kill worker", func(l *lifecycle) {
		l.stop(l.take(), syscall.SIGKILL)
		l.mayRepeat += mostInFlight
		l.workers = append(l.workers, l.worker("--concurrency", "8"))
	}},
	{"purge", func(l *lifecycle) {
		stream, err := l.js.Stream(l.t.Context(), queue.JobStream(queue.Normal))
		l.must(err)
		l.must(stream.Purge(l.t.Context()))
		l.lose(time.Time{})
	}},
	{"kill server", func(l *lifecycle) {
		l.server.kill()
		l.repeatInFlight()
		l.startAgain(false)
	}},
	{"API down", func(l *lifecycle) {
		l.api.SetDown(http.StatusServiceUnavailable)
		time.Sleep(time.Second) // the load's own time
		l.api.SetDown(0)
	}},
}

// repeatInFlight says that what is in flight at each worker may repeat, and what the publishers are waiting for.
func (l *lifecycle) repeatInFlight() { l.mayRepeat += len(l.workers)*mostInFlight + 4 }

// take takes one of the workers out.
func (l *lifecycle) take() *process {
	n := l.rnd.IntN(len(l.workers))
	p := l.workers[n]
	l.workers = append(l.workers[:n:n], l.workers[n+1:]...)
	return p
}

// edit changes a stream, and soon changes it back.
func (l *lifecycle) edit(change func(*jetstream.StreamConfig)) {
	stream, err := l.js.Stream(l.t.Context(), queue.JobStream(queue.Normal))
	l.must(err)
	before := stream.CachedInfo().Config
	edited := before
	change(&edited)
	_, err = l.js.UpdateStream(l.t.Context(), edited)
	l.must(err)
	time.Sleep(1500 * time.Millisecond) // the load's own time
	_, err = l.js.UpdateStream(l.t.Context(), before)
	l.must(err)
}

// backup is a stream as `nats stream backup` keeps it.
type backup struct {
	stream        string
	messages      int
	config, state json.RawMessage
	chunks        [][]byte
}

// backUp copies a stream with its consumers.
func (l *lifecycle) backUp(stream string) (b backup) {
	inbox := nats.NewInbox()
	sub, err := l.nc.SubscribeSync(inbox)
	l.must(err)
	defer sub.Unsubscribe()
	var resp struct {
		Config json.RawMessage `json:"config"`
		State  json.RawMessage `json:"state"`
		Error  json.RawMessage `json:"error"`
	}
	l.ask("$JS.API.STREAM.SNAPSHOT."+stream, map[string]any{"deliver_subject": inbox, "chunk_size": 64 << 10}, &resp)
	var state struct {
		Messages int `json:"messages"`
	}
	l.must(json.Unmarshal(resp.State, &state))
	b = backup{stream: stream, messages: state.Messages, config: resp.Config, state: resp.State}
	for {
		msg, err := sub.NextMsg(20 * time.Second)
		l.must(err)
		if len(msg.Data) == 0 {
			return b
		}
		b.chunks = append(b.chunks, msg.Data)
		if msg.Reply != "" { // the last one has none
			l.must(msg.Respond(nil))
		}
	}
}

// restore makes the stream anew as it was.
func (l *lifecycle) restore(b backup) {
	var resp struct {
		Deliver string          `json:"deliver_subject"`
		Error   json.RawMessage `json:"error"`
	}
	l.ask("$JS.API.STREAM.RESTORE."+b.stream, map[string]any{"config": b.config, "state": b.state}, &resp)
	for _, chunk := range append(b.chunks, nil) {
		msg, err := l.nc.Request(resp.Deliver, chunk, 20*time.Second)
		l.must(err)
		var said struct {
			Error json.RawMessage `json:"error"`
		}
		if len(msg.Data) > 0 && json.Unmarshal(msg.Data, &said) == nil && said.Error != nil {
			l.must(fmt.Errorf("restore: %s", said.Error))
		}
	}
}

// ask makes a request of JetStream's API.
func (l *lifecycle) ask(subject string, req, resp any) {
	data, err := json.Marshal(req)
	l.must(err)
	msg, err := l.nc.Request(subject, data, 20*time.Second)
	l.must(err)
	l.must(json.Unmarshal(msg.Data, resp))
	var said struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(msg.Data, &said) == nil && said.Error != nil {
		l.must(errors.New(subject + ": " + string(said.Error)))
	}
}
