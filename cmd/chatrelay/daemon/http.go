package daemon

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chatrelay/chatrelay/queue"
)

// serve answers requests on l until the returned function is called.
func serve(l net.Listener, handler http.Handler) (stop func()) {
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	go func() { _ = s.Serve(l) }() // ends by Shutdown
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	}
}

// operations answers /healthz while healthy returns nil, /readyz while ready does, and /metrics. Conditions
// are told with "ready": the worker goes on with what they do not concern, and another in its place would meet
// the same.
func operations(registry *prometheus.Registry, healthy, ready func() error, conditions func() []queue.Condition) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", answer(healthy, func() string { return "ok" }))
	mux.HandleFunc("GET /readyz", answer(ready, func() string {
		lines := []string{"ready"}
		for _, c := range conditions() {
			lines = append(lines, conditionText(c))
		}
		return strings.Join(lines, "\n")
	}))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

func answer(ask func() error, yes func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := ask(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, yes())
	}
}
