package queue

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// publishRaw publishes as a client of another make may: with header lines that nats.go would refuse.
func publishRaw(t *testing.T, q *Queue, subject, payload string, headers ...string) {
	t.Helper()
	server, err := url.Parse(q.nc.ConnectedUrl())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", server.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	header := "NATS/1.0\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
	const answer = "_INBOX.foreign"
	_, _ = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB %s 1\r\n", answer)
	_, _ = fmt.Fprintf(conn, "HPUB %s %s %d %d\r\n%s%s\r\n", subject, answer, len(header), len(header)+len(payload), header, payload)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, `{"stream":`) && !strings.Contains(line, `"error"`):
			return
		case strings.Contains(line, `"error"`), strings.HasPrefix(line, "-ERR"):
			t.Fatalf("publish with %d bytes of headers: %s", len(header), line)
		}
	}
	t.Fatal("the server did not answer")
}

// stands are the headers of the message that a lease or a letter was made of.
func stands(t *testing.T, q *Queue, stream string, seq uint64) nats.Header {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := s.GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	return msg.Header
}

// buryLease buries all recipients of a job and acks it, and gives the letter as it is read.
func buryLease(t *testing.T, q *Queue, l *Lease) DeadLetter {
	t.Helper()
	bury(t, q, DeadLetter{
		JobID: l.Job.ID, ProjectID: l.Job.ProjectID, Priority: l.Priority, Message: l.Job.Message, WovenIDs: l.Job.WovenIDs,
		Reason: Rejected, Failures: []Failure{{l.Job.WovenIDs, "user not found", 200}}, History: l.History, FailedAt: time.Now().UTC(), Origin: l.Origin(),
	})
	if err := Ack(deadline(t), []*Lease{l}); err != nil {
		t.Fatal(err)
	}
	found := letters(t, q, Filter{})
	if len(found) != 1 {
		t.Fatalf("%d letters, want one", len(found))
	}
	return found[0]
}

func TestHeadersTravel(t *testing.T) {
	q := newQueue(t)
	jobs := openJobs(t, q, JobsConfig{})
	publishRaw(t, q, JobSubject(Normal, projectA), with("woven_ids", `["a","b"]`),
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: shop=1", "X-App: one", "X-App: two",
		"Nats-Msg-Id: theirs", "Nats-Expected-Stream: NOTIFY_NORMAL", "nats-odd: x", "Status: 100", "description: y",
		"chatrelay-odd: z", "x[0]: no name that this client would send", "caf\u00e9: nor this")
	want := map[string][]string{
		"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "tracestate": {"shop=1"}, "X-App": {"one", "two"},
	}
	check := func(when, stream string, seq uint64, h History) {
		t.Helper()
		if !reflect.DeepEqual(h.Headers, want) {
			t.Errorf("%s: the headers are %q", when, h.Headers)
		}
		theirs := stands(t, q, stream, seq)
		for _, name := range []string{"Nats-Expected-Stream", "nats-odd", "Status", "description", "chatrelay-odd"} {
			if theirs.Get(name) != "" {
				t.Errorf("%s: the message has %s: %q", when, name, theirs.Get(name))
			}
		}
		if id := theirs.Get(jetstream.MsgIDHeader); id == "theirs" {
			t.Errorf("%s: the message has the producer's id", when)
		}
	}

	l := take(t, jobs, 1)[0]
	if !reflect.DeepEqual(l.Headers, want) {
		t.Errorf("at first the headers are %q", l.Headers)
	}
	known := l.History
	known.Attempts, known.Suspected, known.LastError = 3, 2, "503 for now"
	known.Ambiguous, known.CallSize = []Tried{{1, 3}, {1, 1}}, 7
	for deferrals := 1; deferrals <= 2; deferrals++ {
		known.Deferrals = deferrals
		asked := known
		asked.Deferrals = 17 // which the queue counts itself
		if err := Defer(deadline(t), []Deferral{{Lease: l, At: time.Now(), History: asked}}); err != nil {
			t.Fatal(err)
		}
		l = take(t, jobs, 1)[0]
		check("deferred", l.Stream, l.Seq, l.History)
		if !l.PublishedAt.Equal(known.PublishedAt) {
			t.Errorf("published at %v, and after a deferral at %v", known.PublishedAt, l.PublishedAt)
		}
		l.PublishedAt = known.PublishedAt
		if !reflect.DeepEqual(l.History, known) {
			t.Errorf("remembered is %+v, want %+v", l.History, known)
		}
	}
	if err := l.Split(deadline(t), 1); err != nil {
		t.Fatal(err)
	}
	parts := append(take(t, jobs, 1), l)
	for _, part := range parts {
		check("split", part.Stream, part.Seq, part.History)
		if part.Attempts != 3 || part.Deferrals != 2 || part.Suspected != 2 || part.CallSize != 7 || part.LastError != "503 for now" {
			t.Errorf("a part remembers %+v", part.History)
		}
		own := map[string]Tried{"a": {1, 3}, "b": {1, 1}}[part.Job.WovenIDs[0]]
		if !slices.Equal(part.Ambiguous, []Tried{own}) {
			t.Errorf("the part for %v remembers tries %v", part.Job.WovenIDs, part.Ambiguous)
		}
	}
	if err := Ack(deadline(t), parts[1:]); err != nil {
		t.Fatal(err)
	}
	l = parts[0]
	for replays := 1; replays <= 2; replays++ {
		dead := buryLease(t, q, l)
		check("buried", DeadStream, dead.Seq, dead.History)
		if dead.PublishedAt = l.PublishedAt; !reflect.DeepEqual(dead.History, l.History) {
			t.Errorf("the letter remembers %+v of %+v", dead.History, l.History)
		}
		if err := q.Replay(deadline(t), dead.Seq); err != nil {
			t.Fatal(err)
		}
		l = take(t, jobs, 1)[0]
		check("replayed", l.Stream, l.Seq, l.History)
		l.History.PublishedAt = time.Time{}
		if fresh := (History{Replays: replays, Headers: want}); !reflect.DeepEqual(l.History, fresh) {
			t.Errorf("a replayed job remembers %+v", l.History)
		}
		l.History.PublishedAt = time.Now()
	}
}

// The server takes 64 KiB of headers in a message, and what a producer sent comes near to that. The
// job is as large as its stream takes it.
func TestLargeHeaders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		sizes map[string]int
		want  []string
	}{
		{"in bounds", map[string]int{"A": 20 << 10, "B": 27 << 10, "traceparent": 55}, []string{"A", "B", "traceparent"}},
		{"out of bounds", map[string]int{"A": 20 << 10, "B": 44<<10 - 300, "traceparent": 55}, []string{"A", "traceparent"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQueueWithPayload(t, 1<<20)
			var headers []string
			for name, size := range c.sizes {
				headers = append(headers, name+": "+strings.Repeat("v", size))
			}
			size := len("NATS/1.0\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n")
			room := maxMsgSize(t, q, "NOTIFY_NORMAL") - size - len(with("woven_ids", ""))
			publishRaw(t, q, JobSubject(Normal, projectA), with("woven_ids", recipientsOf(room)), headers...)
			jobs := openJobs(t, q, JobsConfig{WindowBytes: 1})
			check := func(when string, h map[string][]string) {
				t.Helper()
				if got := slices.Sorted(maps.Keys(h)); !slices.Equal(got, c.want) {
					t.Errorf("%s: the headers are %v, want %v", when, got, c.want)
				}
			}
			l := take(t, jobs, 1)[0]
			published := len(l.Job.WovenIDs)
			for range 2 {
				l.LastError = strings.Repeat("e", 300)
				if err := Defer(deadline(t), []Deferral{{Lease: l, At: time.Now(), History: l.History}}); err != nil {
					t.Fatal(err)
				}
				l = take(t, jobs, 1)[0]
				check("deferred", l.Headers)
			}
			dead := buryLease(t, q, l)
			check("buried", dead.Headers)
			if err := q.Replay(deadline(t), dead.Seq); err != nil {
				t.Fatal(err)
			}
			l = take(t, jobs, 1)[0]
			check("replayed", l.Headers)
			if len(l.Job.WovenIDs) != published {
				t.Errorf("%d of %d recipients came back", len(l.Job.WovenIDs), published)
			}
		})
	}
}

// Headers stay in memory with the lease, so they count.
func TestHeadersCountInTheWindow(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for i := range 5 {
		publishRaw(t, q, JobSubject(Normal, projectA), with("id", fmt.Sprintf(`"job-%d"`, i)), "X-App: "+strings.Repeat("v", 10<<10))
	}
	jobs := openJobs(t, q, JobsConfig{WindowBytes: 4 * 36 << 10})
	if held := take(t, jobs, 3); jobs.Held() != 3 {
		t.Errorf("%d jobs with 10 KiB of headers are held in 36 KiB; %d were handed out", jobs.Held(), len(held))
	}
}

// Letters of versions that put no headers beside them are read and replayed, and the JSON of new
// ones has the same members.
func TestLettersOfOlderVersions(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	const old = `{"job_id":"one","project_id":"` + projectA + `","priority":"normal","message":"m","woven_ids":["a"],"reason":"rejected",` +
		`"failures":[{"woven_ids":["a"],"detail":"user not found","status":200}],"attempts":4,` +
		`"published_at":"2026-11-23T09:00:00Z","failed_at":"2026-11-23T09:01:00Z","replays":2}`
	if _, err := q.js.Publish(t.Context(), deadPrefix+projectA+".rejected.normal-7", []byte(old)); err != nil {
		t.Fatal(err)
	}
	dead := letters(t, q, Filter{})[0]
	published := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	if want := (History{Attempts: 4, PublishedAt: published, Replays: 2}); !reflect.DeepEqual(dead.History, want) {
		t.Errorf("an old letter remembers %+v, want %+v", dead.History, want)
	}
	dead.LastError, dead.Suspected, dead.Deferrals, dead.Headers = "503", 1, 2, map[string][]string{"X-App": {"one"}}
	data, err := json.Marshal(dead)
	if err != nil {
		t.Fatal(err)
	}
	var was, is map[string]any
	if err := errors.Join(json.Unmarshal([]byte(old), &was), json.Unmarshal(data, &is)); err != nil || !reflect.DeepEqual(was, is) {
		t.Errorf("the letter is written as %s, was %s: %v", data, old, err)
	}
	if err := q.Replay(deadline(t), dead.Seq); err != nil {
		t.Fatal(err)
	}
	if l := take(t, openJobs(t, q, JobsConfig{}), 1)[0]; l.Job.ID != "one" || l.Replays != 3 || l.Headers != nil {
		t.Errorf("replayed as %+v", l)
	}
}
