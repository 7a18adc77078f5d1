package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/bench/bareloop"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue/broker"
)

// brokerReady is what the broker says of itself.
type brokerReady struct {
	URL string `json:"url"`
}

// RunBroker is a child process of a measurement: a nats-server with its state in dir, until ctx ends.
// It prints its address on out as a line of JSON when it is ready.
func RunBroker(ctx context.Context, dir string, out io.Writer) error {
	b, err := broker.Start(broker.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer b.Stop()
	if err := term.PrintJSON(out, brokerReady{b.URL()}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// apiReady is what the Chat API says of itself.
type apiReady struct {
	Chat    string `json:"chat"`
	Token   string `json:"token"`
	Records string `json:"records"`
}

// RunAPI is a child process of a measurement: a Chat API that counts how often it is asked to deliver
// to each recipient of w, until ctx ends. It prints its addresses on out as a line of JSON when it is
// ready.
func RunAPI(ctx context.Context, w Workload, out io.Writer) error {
	t := newTally(w)
	api := chatapitest.New(chatapitest.Config{Latency: w.Latency, Forget: true, OnCall: t.call, TokenLifetime: time.Hour})
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("GET /_/", http.StripPrefix("/_", t.records(api)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	base := "http://" + l.Addr().String()
	if err := term.PrintJSON(out, apiReady{base + chatapitest.ChatPath, base + chatapitest.TokenPath, base + "/_/"}); err != nil {
		return err
	}
	_ = s.Serve(l) // until it is closed
	return nil
}

// RunBare is a child process of a measurement: the bare loop, with a token from tokenURL, until ctx
// ends.
func RunBare(ctx context.Context, cfg bareloop.Config, tokenURL string) error {
	var err error
	if cfg.Token, err = getToken(ctx, tokenURL); err != nil {
		return err
	}
	return bareloop.Run(ctx, cfg)
}
