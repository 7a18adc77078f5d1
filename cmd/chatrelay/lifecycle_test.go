//go:build faults

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

var lifecycleSeed = flag.Uint64("seed", 0, "what TestLifecycle does, and in which order; zero: another each time")

// mostInFlight is what a worker of eight calls at once, killed at any moment, may repeat: permits.mostUnconfirmed.
const mostInFlight = 17 * 8

// lifecycle is an installation under load, and an operator.
type lifecycle struct {
	*system
	server  *natsServer
	nc      *nats.Conn
	js      jetstream.JetStream
	rnd     *rand.Rand
	workers []*process
	told    []string // what was done

	gone      []span // jobs accepted then were thrown away by the operator
	mayRepeat int    // deliveries

	mu       sync.Mutex
	accepted map[int]time.Time // by the job's number
}

// span is a time, both ends included.
type span struct{ from, to time.Time }

func newLifecycle(t *testing.T, seed uint64) *lifecycle {
	t.Helper()
	server := startNATS(t, broker.Config{Name: "nats", Port: freePorts(t, 1)[0], Dir: t.TempDir()})
	l := &lifecycle{
		system: connectSystem(t, chatapitest.Config{Latency: 50 * time.Millisecond}, server.url, t.TempDir()),
		server: server, rnd: rand.New(rand.NewPCG(seed, 0)), accepted: map[int]time.Time{},
	}
	var err error
	if l.nc, err = nats.Connect(server.url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.nc.Close)
	if l.js, err = jetstream.New(l.nc); err != nil {
		t.Fatal(err)
	}
	l.prepare()
	for range 2 {
		l.workers = append(l.workers, l.worker("--concurrency", "8"))
	}
	return l
}

// prepare does what operators do after they lost a stream or a consumer.
func (l *lifecycle) prepare() {
	l.init(1)
	l.hurry()
}

func lifecycleJob(n int) queue.Job {
	id := fmt.Sprintf("life-%d", n)
	return queue.Job{ID: id, ProjectID: project(n % 10), Message: "message " + id, WovenIDs: []string{id}}
}

// publish publishes until the context ends, and takes down when each job was accepted.
func (l *lifecycle) publish(ctx context.Context) {
	const publishers = 4
	publisher := l.q.Publisher(queue.PublisherConfig{RetryFor: 20 * time.Second})
	var all sync.WaitGroup
	for first := range publishers {
		all.Go(func() {
			for n := first; ctx.Err() == nil; n += publishers {
				if _, err := publisher.Publish(l.t.Context(), queue.Normal, lifecycleJob(n)); err == nil {
					l.mu.Lock()
					l.accepted[n] = time.Now()
					l.mu.Unlock()
				}
				time.Sleep(9 * time.Millisecond) // the load's own time
			}
		})
	}
	all.Wait()
}

// lost takes down that what was accepted in this time is gone.
func (l *lifecycle) lose(from time.Time) { l.gone = append(l.gone, span{from, time.Now()}) }

// run does so many things in random order.
func (l *lifecycle) run(events int) {
	ctx, stop := context.WithCancel(l.t.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() { l.publish(ctx) })
	var order []int
	for len(order) < events {
		order = append(order, l.rnd.Perm(len(deeds))...)
	}
	for _, n := range order[:events] {
		time.Sleep(time.Duration(200+l.rnd.IntN(1500)) * time.Millisecond) // the load's own time
		began := time.Now()
		deeds[n].do(l)
		l.told = append(l.told, fmt.Sprintf("%s (%.1f s)", deeds[n].name, time.Since(began).Seconds()))
		for _, w := range l.workers {
			select {
			case <-w.exited:
				l.t.Errorf("a worker ended by itself after: %s: %v\n%s", strings.Join(l.told, ", "), w.err, tail(w.stderr.String(), 2000))
			default:
			}
		}
	}
	stop()
	publishing.Wait()
}

// account demands that each job that was accepted, and not thrown away, is delivered or in a letter.
func (l *lifecycle) account(f *figures) {
	l.t.Helper()
	dead := map[string]bool{}
	for _, letter := range l.letters() {
		for _, id := range letter.WovenIDs {
			dead[id] = true
		}
	}
	deliveries := l.api.Deliveries()
	var lost []string
	thrown, repeated := 0, 0
	for n, at := range l.accepted {
		job := lifecycleJob(n)
		count := deliveries[chatapitest.Delivery{ProjectID: job.ProjectID, Message: job.Message, WovenID: job.ID}]
		repeated += max(0, count-1)
		if count > 0 || dead[job.ID] {
			continue
		}
		if l.thrownAway(at) {
			thrown++
		} else {
			lost = append(lost, job.ID)
		}
	}
	f.add("of %s jobs accepted %d lost, %d thrown away by the operator before they were held, %d repeated (at most %s may be); done: %s",
		term.Thousands(len(l.accepted)), len(lost), thrown, repeated, term.Thousands(l.mayRepeat), strings.Join(l.told, ", "))
	if len(lost) > 0 {
		l.t.Errorf("%d jobs were lost: %.300v", len(lost), lost)
	}
	if repeated > l.mayRepeat {
		l.t.Errorf("%d deliveries repeated, more than the %d that may be", repeated, l.mayRepeat)
	}
}

func (l *lifecycle) thrownAway(accepted time.Time) bool {
	for _, s := range l.gone {
		if !accepted.Before(s.from) && !accepted.After(s.to) {
			return true
		}
	}
	return false
}

// lifecycleOf lets an operator do what this seed says.
func lifecycleOf(seed uint64, events int) func(*testing.T, *figures) {
	return func(t *testing.T, f *figures) {
		l := newLifecycle(t, seed)
		l.api.Reject("unknown user", "life-7", "life-77", "life-777")
		f.add("seed %d", seed)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("seed %d; done: %s", seed, strings.Join(l.told, ", "))
			}
		})
		l.run(events)
		l.drained(patience)
		l.account(f)
	}
}

// TestLifecycle does what a seed says: go test -tags faults -run TestLifecycle ./cmd/chatrelay -seed 7.
func TestLifecycle(t *testing.T) {
	seed := *lifecycleSeed
	if seed == 0 {
		seed = rand.Uint64N(1_000_000) + 1
	}
	t.Logf("-seed %d", seed)
	var f figures
	lifecycleOf(seed, 2*len(deeds))(t, &f)
	t.Log(strings.Join(f.said, "; "))
}

// startAgain starts the server that was killed, maybe without what it had stored.
func (l *lifecycle) startAgain(wipe bool) {
	l.t.Helper()
	if wipe {
		if err := os.RemoveAll(filepath.Join(l.server.cfg.Dir, "jetstream")); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.server.start(); err != nil {
		l.t.Fatal(err)
	}
	l.eventually(patience, "the connection to the server that was started again", func() bool {
		_, err := l.js.AccountInfo(l.t.Context())
		return err == nil
	})
}

// must ends the test if what the operator does fails.
func (l *lifecycle) must(err error) {
	l.t.Helper()
	if err != nil && !errors.Is(err, context.Canceled) {
		l.t.Fatal(err)
	}
}
