package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chatrelay/chatrelay/queue/broker"
)

// raced says whether this is built with the race detector.
var raced = func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

// plainDir is where the commands chatrelay and nats-broker are without the race detector, built when they
// are first needed. nats-server 2.15.2 starts the timer of a new stream's file store without its lock
// (setSyncTimer), so that a server that is slow for 50 ms then is a data race, which would end the test
// run. What measures is also not slowed down by the detector.
var plainDir = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(suiteDir, "plain")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if raced {
		self = filepath.Join(dir, "tests")
		build := exec.Command("go", "test", "-c", "-race=false", "-o", self, ".")
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", build.Args, err, out)
		}
	}
	return dir, errors.Join(os.Symlink(self, filepath.Join(dir, "chatrelay")), os.Symlink(self, filepath.Join(dir, "nats-broker")))
})

// natsMain is a nats-server as a process: nats-broker CONFIG, in JSON, or nats-broker FILE.conf, in its own form.
// It says its address, and ends with its standard input, so that none is left behind when the test ends in
// whatever way.
func natsMain() {
	signal.Ignore(syscall.SIGXFSZ) // a limit on the size of files, as tests set it, is an error of the disk to it
	url, err := serveNATS(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(url)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func serveNATS(config string) (url string, err error) {
	if strings.HasSuffix(config, ".conf") {
		opts, err := server.ProcessConfigFile(config)
		if err != nil {
			return "", err
		}
		opts.NoSigs, opts.NoLog = true, true
		s, err := server.NewServer(opts)
		if err != nil {
			return "", err
		}
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			return "", errors.New("not ready in 10 s")
		}
		return s.ClientURL(), nil
	}
	var cfg broker.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return "", err
	}
	b, err := broker.Start(cfg)
	if err != nil {
		return "", err
	}
	return b.URL(), nil
}

// natsServer is a nats-server that can be killed and started again with the same state, and the same
// port if its configuration names one.
type natsServer struct {
	cfg  broker.Config
	conf string // a file of the server's own, in place of cfg; its name ends in .conf
	url  string
	cmd  *exec.Cmd
	hold io.Closer // its standard input
}

// start returns when the server takes connections.
func (n *natsServer) start() error {
	dir, err := plainDir()
	if err != nil {
		return err
	}
	config := n.conf
	if config == "" {
		cfg, err := json.Marshal(n.cfg)
		if err != nil {
			return err
		}
		config = string(cfg)
	}
	n.cmd = exec.Command(filepath.Join(dir, "nats-broker"), config)
	n.cmd.Stderr = os.Stderr
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if n.hold, err = n.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	if _, err := fmt.Fscanln(out, &n.url); err != nil {
		n.kill()
		return fmt.Errorf("nats-server %s did not start: %w", n.cfg.Name, err)
	}
	return nil
}

func (n *natsServer) kill() {
	_ = n.cmd.Process.Kill() // at the end of a test it may have ended
	_ = n.cmd.Wait()
	_ = n.hold.Close()
}

// startNATS starts a nats-server for the time of a test.
func startNATS(t *testing.T, cfg broker.Config) *natsServer {
	t.Helper()
	return startServer(t, &natsServer{cfg: cfg})
}

func startServer(t *testing.T, n *natsServer) *natsServer {
	t.Helper()
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.kill)
	return n
}

// startCluster starts several that are a cluster.
func startCluster(t *testing.T, size int) (servers []*natsServer) {
	t.Helper()
	dir, ports := t.TempDir(), freePorts(t, 2*size)
	for i := range size {
		cfg := broker.Config{Name: fmt.Sprintf("nats-%d", i), Port: ports[i]}
		cfg.Dir = filepath.Join(dir, cfg.Name)
		for k := range size { // its own first
			cfg.ClusterPorts = append(cfg.ClusterPorts, ports[size+(i+k)%size])
		}
		servers = append(servers, startNATS(t, cfg))
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
