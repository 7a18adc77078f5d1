//go:build faults

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
	"github.com/chatrelay/chatrelay/cmd/chatrelay/term"
	"github.com/chatrelay/chatrelay/queue"
)

// hostileConf has an account for those who are not trusted, which may publish the jobs of one project and do
// nothing else, and in the account of the streams a user who may publish jobs of every project.
const hostileConf = `
listen: "127.0.0.1:%d"
max_payload: 4MB
jetstream { store_dir: %q, sync_interval: 1h }
accounts {
  RELAY {
    jetstream: enabled
    users: [
      { user: relay, password: relay }
      { user: careless, password: careless, permissions: { publish: "notify.jobs.>", subscribe: "_INBOX.>" } }
    ]
    exports: [ { service: "notify.jobs.normal.*" } ]
  }
  HOSTILE {
    users: [ { user: hostile, password: hostile } ]
    imports: [ { service: { account: RELAY, subject: "notify.jobs.normal.%s" } } ]
  }
}
`

// windowBytes is what the worker of these tests may hold, and memoryBound what its process may take: what is held,
// the same again that is garbage before it is collected, what was received and not yet looked at, and the program.
const (
	windowBytes = 64 << 20
	memoryBound = 2*windowBytes + 192<<20
)

// hostile is a producer who may publish the jobs of one project, and attacks with that.
type hostile struct {
	*system
	nc      *nats.Conn
	acks    *nats.Subscription
	project string
	sent    map[string]wish // by the subject of the answer
}

// wish is what a hostile message is, as far as it can be read: if it is accepted, each of its recipients is told
// once, or named in a letter.
type wish struct {
	job, message string
	recipients   int // different ones
}

// newHostile starts an installation, a worker in it that answers at addr, and the hostile producer.
func newHostile(t *testing.T, user string, extra ...string) (h *hostile, worker *process, addr string) {
	t.Helper()
	dir, ports := t.TempDir(), freePorts(t, 2)
	h = &hostile{project: project(666), sent: map[string]wish{}}
	conf := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, hostileConf, ports[0], filepath.Join(dir, "nats"), h.project), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, &natsServer{conf: conf})
	address := func(user string) string { return fmt.Sprintf("nats://%[1]s:%[1]s@127.0.0.1:%d", user, ports[0]) }
	h.system = connectSystem(t, chatapitest.Config{Latency: 5 * time.Millisecond}, address("relay"), dir)
	if p := h.start("init", "--max-bytes", strconv.Itoa(256<<20)); h.ended(p) != 0 {
		t.Fatalf("chatrelay init: %s%s", p.stdout, p.stderr)
	}
	addr = "127.0.0.1:" + strconv.Itoa(ports[1])
	worker = h.worker(append([]string{"--http-addr", addr, "--window-bytes", strconv.Itoa(windowBytes), "--concurrency", "16"}, extra...)...)
	var err error
	if h.nc, err = nats.Connect(address(user), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.nc.Close)
	if h.acks, err = h.nc.SubscribeSync("_INBOX.hostile.*"); err != nil {
		t.Fatal(err)
	}
	if err := h.acks.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	return h, worker, addr
}

// job is the payload of a job that is valid, of the hostile project unless it is said otherwise.
func (h *hostile) job(id string, change func(map[string]any)) []byte {
	job := map[string]any{"id": id, "project_id": h.project, "message": "hostile " + id, "woven_ids": []string{id}}
	if change != nil {
		change(job)
	}
	data, err := json.Marshal(job)
	if err != nil {
		h.t.Fatal(err)
	}
	return data
}

// send publishes a message, whose answer comes to the attacker unless the message says otherwise.
func (h *hostile) send(msg *nats.Msg) {
	if msg.Subject == "" {
		msg.Subject = queue.JobSubject(queue.Normal, h.project)
	}
	if msg.Reply == "" {
		msg.Reply = "_INBOX.hostile." + strconv.Itoa(len(h.sent))
		var job queue.Job
		var w wish
		if json.Unmarshal(msg.Data, &job) == nil {
			slices.Sort(job.WovenIDs)
			w = wish{job.ID, job.Message, len(slices.Compact(job.WovenIDs))}
		}
		h.sent[msg.Reply] = w
	}
	_ = h.nc.PublishMsg(msg) // what the client or the server refuses harms nobody
}

// accepted are the messages that the server took.
func (h *hostile) accepted() (taken []wish) {
	_ = h.nc.FlushTimeout(patience)
	for {
		msg, err := h.acks.NextMsg(time.Second)
		if err != nil {
			return taken
		}
		var ack struct {
			Seq       uint64 `json:"seq"`
			Duplicate bool   `json:"duplicate"`
		}
		if json.Unmarshal(msg.Data, &ack) == nil && ack.Seq > 0 && !ack.Duplicate {
			taken = append(taken, h.sent[msg.Subject])
		}
	}
}

// under lets others publish a trickle while attacks go on, and demands that they are served as before.
func (h *hostile) under(f *figures, worker *process, addr string, attacks ...attack) {
	t := h.t
	t.Helper()
	before := newOthers("before", 60, 6)
	calm := before.publishEvery(h.system, 30*time.Millisecond)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, a := range attacks {
			for i := range a.n {
				h.send(a.msg(h, i))
			}
			_ = h.nc.FlushTimeout(patience)
		}
	}()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if says := unready(addr); says != "" {
				t.Errorf("the worker is not ready: %s", says)
				return
			}
		}
	}()
	during := newOthers("during", 60+40*len(attacks), 6)
	stressed := during.publishEvery(h.system, 50*time.Millisecond)
	<-done
	<-watched
	taken := h.accepted()
	after := newOthers("after", 30, 6)
	later := after.publishEvery(h.system, 30*time.Millisecond)
	f.add("%s hostile messages accepted; nine tenths of the others' jobs delivered within %v before, %v during, %v after it",
		term.Thousands(len(taken)), calm.at(.9).Round(time.Millisecond), stressed.at(.9).Round(time.Millisecond), later.at(.9).Round(time.Millisecond))
	for _, d := range []delays{stressed, later} {
		f.bound(d.at(.9) < 2*calm.at(.9)+250*time.Millisecond, "nine tenths of the others' jobs within twice of before (and a quarter of a second)")
	}
	h.settled(attacks)
	all := load{slices.Concat(before.jobs, during.jobs, after.jobs)}
	if got := all.count(h.system); got.repeated > 0 || got.buried > 0 {
		t.Errorf("of the others' recipients %d repeated, %d buried", got.repeated, got.buried)
	}
	h.demandFate(f, taken)
	if kb := peakMemory(t, worker); kb > 0 {
		f.add("the worker took %d MB at most", kb>>10)
		if kb<<10 > memoryBound && !raced {
			t.Errorf("the worker took %d MB, more than %d", kb>>10, memoryBound>>20)
		}
	}
	select {
	case <-worker.exited:
		t.Errorf("the worker ended: %v", worker.err)
	default:
	}
	if says := unready(addr); says != "" {
		t.Errorf("after it the worker is not ready: %s", says)
	}
}

// unready is what a worker says that is not ready; empty: it is.
func unready(addr string) string {
	resp, err := http.Get("http://" + addr + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return string(text)
	}
	return ""
}

// settled waits until nothing is left but what may wait.
func (h *hostile) settled(attacks []attack) {
	h.t.Helper()
	if !slices.ContainsFunc(attacks, func(a attack) bool { return a.waits }) {
		h.drained(patience)
		return
	}
	h.eventually(patience, "all jobs to be settled but those that may wait", func() bool {
		st, err := h.q.Status(h.t.Context(), time.Millisecond)
		return err == nil && st.Queued == 0 && st.Held == 0 && st.Due == 0
	})
}

// demandFate demands that every hostile message that was accepted is delivered to each of its recipients once, or in
// a letter, or waits for its time.
func (h *hostile) demandFate(f *figures, taken []wish) {
	told, named, invalid := map[string]int{}, map[string]int{}, 0
	for d, n := range h.api.Deliveries() {
		if d.ProjectID == h.project {
			told[d.Message]++
			if n > 1 {
				h.t.Errorf("%.60q was delivered %d times to %s", d.Message, n, d.WovenID)
			}
		}
	}
	letters := h.letters()
	for _, l := range letters {
		if l.Reason == queue.Invalid {
			invalid++
		}
		id, _, _ := strings.Cut(l.JobID, "+") // of a part
		named[id] += len(l.WovenIDs)
	}
	status, err := h.q.Status(h.t.Context(), time.Millisecond)
	if err != nil {
		h.t.Fatal(err)
	}
	done, open := 0, 0
	for _, w := range taken {
		if w.recipients > 0 && told[w.message]+named[w.job] >= w.recipients {
			done++
		} else {
			open++
		}
	}
	waiting := int(status.Scheduled)
	f.add("%s of them settled, %s waiting, %s letters", term.Thousands(done), term.Thousands(waiting), term.Thousands(len(letters)))
	if open > invalid+waiting {
		h.t.Errorf("of %d accepted messages %d were settled, %d are in letters as they came, and %d wait", len(taken), done, invalid, waiting)
	}
}

// peakMemory is the most that a process took, in kB; 0 where that cannot be known.
func peakMemory(t *testing.T, p *process) int {
	t.Helper()
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(firstMatch(string(text), `VmHWM:.*`), "VmHWM:")), " kB"))
	return kb
}
