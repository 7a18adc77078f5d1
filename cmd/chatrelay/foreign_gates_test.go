package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/queue"
)

// scrape reads /metrics of a worker, whose address its log names.
func (s *system) scrape(p *process) string {
	s.t.Helper()
	found := regexp.MustCompile(`"http":"([^"]+)"`).FindStringSubmatch(p.stderr.String())
	if found == nil {
		s.t.Fatalf("the log names no address: %s", p.stderr)
	}
	answer, err := http.Get("http://" + found[1] + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(page)
}

// Whoever publishes gates closes that of a project with jobs, and it is logged, shown and counted. What
// is said of others, and what is no announcement, leaves few lines in the log.
func TestForeignGates(t *testing.T) {
	s := newSystem(t, chatapitest.Config{})
	p := s.worker("--linger", "3s") // so long the project has something to do
	nc, err := nats.Connect(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	publish := func(format string, args ...any) {
		if err := nc.Publish("notify.gates", fmt.Appendf(nil, format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	publishJob := func() {
		if _, err := s.q.Publisher(queue.PublisherConfig{}).Publish(t.Context(), queue.Normal, queue.Job{ProjectID: project(0), Message: "m", WovenIDs: []string{"w"}}); err != nil {
			t.Fatal(err)
		}
	}
	publishJob()
	begun := time.Now()
	const wait = 6 * time.Second
	s.eventually(patience, "the gate to close", func() bool {
		publish(`{"project_id":%q,"kind":"limited","status":429,"from":"stranger1","wait_ms":%d}`, project(0), wait.Milliseconds())
		return strings.Contains(p.stderr.String(), "closed by another worker's word")
	})
	for n := range 3000 {
		publish(`{"project_id":%q,"kind":"limited","from":"stranger1","wait_ms":3600000}`, project(n+1))
		publish(`{"project_id":%q,"kind":"temporary","from":"stranger1","wait_ms":3600000}`, project(0))
		publish(`{"project_id":%q,"kind":"limited","from":"stranger1","until":"2099-01-01T00:00:00Z"}`, project(0))
	}
	s.eventually(patience, "refusals to be counted", func() bool {
		page := s.scrape(p)
		return strings.Contains(page, `chatrelay_foreign_gates_total{what="refused"}`) && strings.Contains(page, `chatrelay_foreign_gates_total{what="heard"}`)
	})
	status := exec.CommandContext(t.Context(), "chatrelay", "status", "-o", "json")
	status.Env = s.env()
	var out bytes.Buffer
	status.Stdout = &out
	if err := status.Run(); err != nil {
		t.Fatal(err)
	}
	var st queue.Status
	if err := json.Unmarshal(out.Bytes(), &st); err != nil {
		t.Fatal(err)
	}
	if len(st.Workers) != 1 || len(st.Workers[0].Gates) != 1 || st.Workers[0].Gates[0].From != "stranger1" || time.Until(st.Workers[0].Gates[0].Until) > wait {
		t.Errorf("status shows %s", &out)
	}
	s.drained(patience)
	if took := time.Since(begun); took < wait {
		t.Errorf("called after %v", took)
	}
	if page := s.scrape(p); !strings.Contains(page, "chatrelay_foreign_gates_total{what=\"applied\"}") {
		t.Error("what was applied is not counted")
	}
	log := p.stderr.String()
	if n := strings.Count(log, "stranger1"); n < 1 || n > 10 {
		t.Errorf("%d lines name the stranger", n)
	}
	if n := strings.Count(log, "only workers should be allowed"); n > 20 {
		t.Errorf("%d lines of refusals", n)
	}
	if code := s.stop(p, sigterm); code != 0 {
		t.Errorf("ended with %d", code)
	}
}
