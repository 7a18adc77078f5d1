package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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

// natsMain is a nats-server as a process: nats-broker NAME DIR PORT [CLUSTER-PORT...]. It ends
// with its standard input, so that none is left behind when the test ends in whatever way.
func natsMain() {
	cfg := broker.Config{Name: os.Args[1], Dir: os.Args[2]}
	var ports []int
	for _, arg := range os.Args[3:] {
		port, err := strconv.Atoi(arg)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		ports = append(ports, port)
	}
	cfg.Port, cfg.ClusterPorts = ports[0], ports[1:]
	if _, err := broker.Start(cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// natsServer is a nats-server that can be killed and started again with the same port and state.
type natsServer struct {
	t    *testing.T
	name string
	port int
	args []string
	cmd  *exec.Cmd
	hold io.Closer // its standard input
}

func (n *natsServer) url() string { return "nats://127.0.0.1:" + strconv.Itoa(n.port) }

// start returns when the server takes connections.
func (n *natsServer) start() {
	n.t.Helper()
	n.cmd = exec.Command("nats-broker", n.args...)
	n.cmd.Stderr = os.Stderr
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if n.hold, err = n.cmd.StdinPipe(); err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	said := make([]byte, 6)
	if _, err := io.ReadFull(out, said); err != nil {
		n.t.Fatalf("nats-server %s did not start: %v", n.name, err)
	}
}

func (n *natsServer) kill() {
	_ = n.cmd.Process.Kill() // at the end of a test it may have ended
	_ = n.cmd.Wait()
	_ = n.hold.Close()
}

// startNATS starts so many nats-servers; more than one are a cluster.
func startNATS(t *testing.T, n int) []*natsServer {
	t.Helper()
	dir := t.TempDir()
	ports := freePorts(t, 2*n)
	var servers []*natsServer
	for i := range n {
		s := &natsServer{t: t, name: fmt.Sprintf("nats-%d", i), port: ports[i]}
		s.args = []string{s.name, filepath.Join(dir, s.name), strconv.Itoa(s.port)}
		if n > 1 {
			for k := range n { // its own first
				s.args = append(s.args, strconv.Itoa(ports[n+(i+k)%n]))
			}
		}
		s.start()
		t.Cleanup(s.kill)
		servers = append(servers, s)
	}
	return servers
}

// freePorts finds ports below those that the system gives to outgoing connections: while a server
// is down, nobody else gets its port.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range 1000 {
		port := 20_000 + rand.IntN(12_000)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		defer l.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no free ports")
	return nil
}

// resumeWithin is how soon after a server's return deliveries must go on.
const resumeWithin = 10 * time.Second

// killedNATS kills the only nats-server twice under load.
func killedNATS(t *testing.T, f *figures) {
	server := startNATS(t, 1)[0]
	s := connectSystem(t, chatapitest.Config{Latency: 20 * time.Millisecond}, server.url(), t.TempDir())
	s.init(1)
	// At once, where answers that were on their way are missed most, and after a while, when the
	// workers stand still.
	s.killUnderLoad(f, [2]time.Duration{0, 2 * time.Second}, func() *natsServer { return server })
}

// killedLeader kills twice the server of a cluster that leads the stream of the jobs.
func killedLeader(t *testing.T, f *figures) {
	servers := startNATS(t, 3)
	var urls []string
	for _, n := range servers {
		urls = append(urls, n.url())
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
	s.eventually(60*time.Second, "the cluster to come together", func() bool {
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
		s.eventually(60*time.Second, "a leader with two followers that have everything", func() bool {
			stream, err := js.Stream(t.Context(), queue.JobStream(queue.Normal))
			if err != nil || stream.CachedInfo().Cluster == nil {
				return false
			}
			cluster := stream.CachedInfo().Cluster
			for _, n := range servers {
				if n.name == cluster.Leader {
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
		killed = append(killed, leader.name)
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
		server.start()
		back := time.Now()
		marker := newOthers(fmt.Sprintf("marker%d", n), 50, 25) // enough for both workers to get some
		marker.publishPatiently(s)
		s.eventually(60*time.Second, "the jobs published after the return to be told", func() bool {
			return !slices.ContainsFunc(marker.jobs, func(j queue.Job) bool { return s.api.Told(j.ProjectID, j.Message, j.WovenIDs[0]) == 0 })
		})
		markers.jobs = append(markers.jobs, marker.jobs...)
		took := time.Since(back)
		f.add("kill %d, away for %.0f s: 50 jobs published after the return were told within %.1f s of it", n+1, pause.Seconds(), took.Seconds())
		if took > resumeWithin {
			s.t.Errorf("the jobs published after the return of %s were told %v after it, want within %v", server.name, took, resumeWithin)
		}
	}
	select {
	case <-published:
	case <-time.After(2 * time.Minute):
		s.t.Fatal("the producer did not come to an end")
	}
	s.drained(120 * time.Second)
	f.account(s, l, markers)
	f.add("longest time without a call %.1f s", s.longestPause().Seconds())
}

// publishAhead publishes while at most so many jobs are ahead of the calls, so that there are
// always some on their way. It tries each as long as it takes.
func (l load) publishAhead(s *system, ahead int) {
	n := 0
	err := s.q.Publisher(queue.PublisherConfig{RetryFor: 2 * time.Minute}).PublishAll(s.t.Context(), func(yield func(queue.Priority, queue.Job) bool) {
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
	publisher := s.q.Publisher(queue.PublisherConfig{RetryFor: time.Minute})
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
