//go:build faults

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// resumeWithin is how soon after a server's return deliveries go on.
const resumeWithin = 10 * time.Second

// killedNATS kills the only nats-server twice under load.
func killedNATS(t *testing.T, f *figures) {
	server := startNATS(t, broker.Config{Name: "nats", Port: freePorts(t, 1)[0], Dir: t.TempDir()})
	s := connectSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond}, server.url, t.TempDir())
	s.init(1)
	// At once, where answers that were on their way are missed most, and after a while, when the
	// workers stand still.
	s.killUnderLoad(f, [2]time.Duration{0, 2 * time.Second}, func() *natsServer { return server })
}

// killedLeader kills twice the server of a cluster that leads the stream of the jobs.
func killedLeader(t *testing.T, f *figures) {
	servers := startCluster(t, 3)
	var urls []string
	for _, n := range servers {
		urls = append(urls, n.url)
	}
	s := connectSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond}, strings.Join(urls, ","), t.TempDir())
	nc, err := nats.Connect(s.url, nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	// A leader alone does not say that it knows all others, which three replicas need.
	s.eventually(patience, "the cluster to come together", func() bool {
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "READY", Replicas: 3})
		return err == nil
	})
	if err := js.DeleteStream(t.Context(), "READY"); err != nil {
		t.Fatal(err)
	}
	s.init(3)
	// The servers take four to nine seconds to choose another leader, whoever returns meanwhile.
	var killed []string
	s.killUnderLoad(f, [2]time.Duration{5 * time.Second, 5 * time.Second}, func() (leader *natsServer) {
		s.eventually(patience, "a leader with two followers that have everything", func() bool {
			stream, err := js.Stream(t.Context(), queue.JobStream(queue.Normal))
			if err != nil || stream.CachedInfo().Cluster == nil {
				return false
			}
			cluster := stream.CachedInfo().Cluster
			for _, n := range servers {
				if n.cfg.Name == cluster.Leader {
					leader = n
				}
			}
			for _, r := range cluster.Replicas {
				if !r.Current {
					return false
				}
			}
			return leader != nil && len(cluster.Replicas) == 2
		})
		killed = append(killed, leader.cfg.Name)
		return leader
	})
	f.add("killed the leaders %s", strings.Join(killed, " and "))
}

// init creates the streams by the command that people use.
func (s *system) init(replicas int) {
	s.t.Helper()
	if p := s.start("init", "--replicas", strconv.Itoa(replicas)); s.ended(p) != 0 {
		s.t.Fatalf("chatrelay init: %s%s", p.stdout, p.stderr)
	}
}

// killUnderLoad kills the chosen server twice, and starts it again a while later, while two workers
// work and a producer publishes.
func (s *system) killUnderLoad(f *figures, away [2]time.Duration, choose func() *natsServer) {
	s.t.Helper()
	s.hurry()
	s.worker("--concurrency", "8")
	s.worker("--concurrency", "8")
	l := newLoad("nats", 6000, 1, 20, 6000)
	var markers load
	published := make(chan struct{})
	go func() {
		defer close(published)
		l.publishAhead(s, 500)
	}()
	for n, pause := range away {
		s.calls(1500 * (n + 1))
		server := choose()
		server.kill()
		time.Sleep(pause)
		if err := server.start(); err != nil {
			s.t.Fatal(err)
		}
		back := time.Now()
		marker := newOthers(fmt.Sprintf("marker%d", n), 50, 25) // enough for both workers to get some
		marker.publishPatiently(s)
		s.eventually(patience, "delivery of the jobs published after the return", func() bool {
			return !slices.ContainsFunc(marker.jobs, func(j queue.Job) bool { return s.api.Delivered(j.ProjectID, j.Message, j.WovenIDs[0]) == 0 })
		})
		markers.jobs = append(markers.jobs, marker.jobs...)
		took := time.Since(back)
		f.add("kill %d, away for %.0f s: 50 jobs published after the return were delivered within %.1f s of it", n+1, pause.Seconds(), took.Seconds())
		f.bound(took <= resumeWithin, "kill %d: delivery within %v of the return", n+1, resumeWithin)
	}
	select {
	case <-published:
	case <-time.After(patience):
		s.t.Fatal("the producer did not come to an end")
	}
	s.drained(patience)
	f.account(s, l, markers)
	f.add("longest time without a call %.1f s", s.longestPause().Seconds())
}

// publishAhead publishes while at most so many jobs are ahead of the calls, so that there are
// always some on their way. It tries each as long as it takes.
func (l load) publishAhead(s *system, ahead int) {
	n := 0
	err := s.q.Publisher(queue.PublisherConfig{RetryFor: patience}).PublishAll(s.t.Context(), func(yield func(queue.Priority, queue.Job) bool) {
		for _, job := range l.jobs {
			for n++; n-s.api.Counts().Delivered > ahead && s.t.Context().Err() == nil; {
				time.Sleep(time.Millisecond)
			}
			if !yield(queue.Normal, job) {
				return
			}
		}
	}, func(r queue.Receipt, err error) {
		if err != nil {
			s.t.Errorf("publish %s: %v", r.JobID, err)
		}
	})
	if err != nil && !errors.Is(err, s.t.Context().Err()) {
		s.t.Errorf("publish: %v", err)
	}
}

// publishPatiently publishes jobs, whatever state the server is in.
func (l load) publishPatiently(s *system) {
	s.t.Helper()
	publisher := s.q.Publisher(queue.PublisherConfig{RetryFor: patience})
	for _, job := range l.jobs {
		if _, err := publisher.Publish(s.t.Context(), queue.Normal, job); err != nil {
			s.t.Fatal(err)
		}
	}
}

// longestPause is the longest time between two calls that arrived one after the other.
func (s *system) longestPause() (longest time.Duration) {
	calls := s.api.Calls()
	for i := 1; i < len(calls); i++ { // they stand in the order of their ends: all take the same time
		longest = max(longest, calls[i].Time.Sub(calls[i-1].Time))
	}
	return longest
}
