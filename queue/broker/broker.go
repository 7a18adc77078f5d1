// Package broker runs nats-server with JetStream in this process, listening on loopback: for
// development, benchmarks and tests. In production NATS runs on its own.
package broker

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Version is that of the nats-server in here.
const Version = server.VERSION

// Config says where the server listens and keeps its state.
type Config struct {
	// Name of the server. Empty: chatrelay. The servers of a cluster need different ones.
	Name string
	// Port on 127.0.0.1. Zero: any free one.
	Port int
	// Dir holds the streams. Required; the server never cleans it up.
	Dir string
	// MaxPayload in bytes. Zero: 4 MiB, which allows jobs of 1 MiB.
	MaxPayload int32
	// MaxStore bounds, in bytes, all streams together, as a disk does. Zero: three quarters of
	// what is free on the disk.
	MaxStore int64
	// SyncInterval is how often what was stored is synced to the disk: a power cut can lose what came
	// since. (What is stored outlives the process in any case.) Zero: 100 ms, where nats-server's own
	// default is two minutes. Tests under the race detector had better set an hour: nats-server 2.15.2
	// reports a data race of its own when a sync comes while a stream is being created.
	SyncInterval time.Duration
	// ClusterPorts are the ports on 127.0.0.1 by which the servers of a cluster reach each other,
	// this one's first. Empty: the server stands alone.
	ClusterPorts []int
}

// Server is a running nats-server.
type Server struct{ s *server.Server }

// Start runs a server and returns when it takes connections. One of a cluster may not have found
// the others by then.
func Start(cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("start nats-server: no directory for its state")
	}
	s, err := server.NewServer(cfg.options())
	if err != nil {
		return nil, fmt.Errorf("start nats-server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("start nats-server on 127.0.0.1:%d with its state in %s: not ready in 10 s; is the port free and the directory writable?", cfg.Port, cfg.Dir)
	}
	return &Server{s}, nil
}

func (cfg Config) options() *server.Options {
	if cfg.Name == "" {
		cfg.Name = "chatrelay"
	}
	if cfg.Port == 0 {
		cfg.Port = server.RANDOM_PORT
	}
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = 4 << 20
	}
	if cfg.SyncInterval == 0 {
		// It had no measurable cost (158,000 publications a second, 152,000 with two minutes).
		cfg.SyncInterval = 100 * time.Millisecond
	}
	opts := &server.Options{
		ServerName: cfg.Name, Host: "127.0.0.1", Port: cfg.Port,
		JetStream: true, StoreDir: cfg.Dir, MaxPayload: cfg.MaxPayload, JetStreamMaxStore: cfg.MaxStore,
		SyncInterval: cfg.SyncInterval,
		NoSigs:       true, NoLog: true, DisableJetStreamBanner: true,
	}
	for i, port := range cfg.ClusterPorts {
		if i == 0 {
			opts.Cluster = server.ClusterOpts{Name: "chatrelay", Host: "127.0.0.1", Port: port}
			continue
		}
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: "127.0.0.1:" + strconv.Itoa(port)})
	}
	return opts
}

// URL is where clients connect.
func (b *Server) URL() string { return b.s.ClientURL() }

// Stop ends the server; its state stays in its directory.
func (b *Server) Stop() {
	b.s.Shutdown()
	b.s.WaitForShutdown()
}
