package queue

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chatrelay/chatrelay/queue/broker"
)

// newQueueWithPayload gives a queue on a server of its own with a max_payload.
func newQueueWithPayload(t *testing.T, maxPayload int32) *Queue {
	t.Helper()
	q := connect(t, newServer(t, broker.Config{Dir: t.TempDir(), MaxPayload: maxPayload}))
	if _, err := q.Init(t.Context(), InitConfig{}); err != nil {
		t.Fatal(err)
	}
	return q
}

// invalidLetter is how a worker buries what is not a job.
func invalidLetter(l *Lease) DeadLetter {
	return DeadLetter{
		ProjectID: UnknownProject, Priority: l.Priority, Reason: Invalid, Raw: l.Raw, Origin: l.Origin(),
		Failures: []Failure{{Detail: l.Invalid.Error()}}, History: l.History, FailedAt: time.Now().UTC(),
	}
}

// maxMsgSize is the largest message that a stream takes.
func maxMsgSize(t *testing.T, q *Queue, stream string) int {
	t.Helper()
	s, err := q.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return int(s.CachedInfo().Config.MaxMsgSize)
}

func TestInvalidPayloadsAreKept(t *testing.T) {
	q := newQueue(t)
	payloads := []string{
		"", "null", "true", "[]", `"text"`, "\x00\x01\xfe\xff", "{", with("x", "1"), with("message", `""`),
		with("woven_ids", "[]"), with("woven_ids", `[""]`), with("id", `"a b"`), with("deliver_at", `"soon"`),
		strings.Replace(with("message", `"m"`), projectA, projectB, 1), // not the project of the subject
		with("message", "\"\xff\""), with("message", strings.Repeat("[", 20_000)),
		garbage(maxMsgSize(t, q, "NOTIFY_NORMAL")),
	}
	for _, p := range payloads {
		if _, err := q.js.Publish(t.Context(), JobSubject(Normal, projectA), []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	leases := take(t, openJobs(t, q, JobsConfig{}), len(payloads))
	for i, l := range leases {
		if !errors.Is(l.Invalid, ErrInvalid) || string(l.Raw) != payloads[i] || l.Priority != Normal {
			t.Errorf("payload %.40q came as %d bytes, priority %s, invalid: %v", payloads[i], len(l.Raw), l.Priority, l.Invalid)
			continue
		}
		if _, err := q.Bury(t.Context(), []DeadLetter{invalidLetter(l)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Ack(t.Context(), leases); err != nil {
		t.Fatal(err)
	}
	found := letters(t, q, Filter{Project: UnknownProject, Reason: Invalid})
	if len(found) != len(payloads) {
		t.Fatalf("%d letters, want %d", len(found), len(payloads))
	}
	for i, l := range found {
		sent := []byte(payloads[i])
		kept := sent[:min(len(sent), maxRaw)]
		if cut := len(kept) < len(sent); cut != (l.RawSize == len(sent) && l.RawSHA256 == hash(sent)) || !cut && l.RawSize != 0 {
			t.Errorf("letter %d of a payload of %d bytes says %d bytes with hash %q", i, len(sent), l.RawSize, l.RawSHA256)
		}
		if !bytes.Equal(l.Raw, kept) || l.Origin != leases[i].Origin() || l.Failures[0].Detail == "" {
			t.Errorf("letter %d holds %d bytes, want %d: %.60q", i, len(l.Raw), len(payloads[i]), l.Raw)
		}
	}
}

func TestSubjectWithoutPriorityIsInvalid(t *testing.T) {
	q := newQueue(t)
	for _, subject := range []string{duePrefix + "pressing." + projectA, duePrefix + "normal", duePrefix + "normal." + projectA + ".x"} {
		if _, err := q.js.Publish(t.Context(), subject, []byte(with("message", `"m"`))); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range take(t, openJobs(t, q, JobsConfig{}), 3) {
		if l.Invalid == nil || strings.Contains(l.Invalid.Error(), "\n") || l.Priority != Normal || len(l.Raw) == 0 {
			t.Errorf("came as %+v", l)
		}
	}
}

// The letter about the largest job that the stream takes must fit in what the server takes, or the
// job could never be settled.
func TestLargestJobFitsInItsLetter(t *testing.T) {
	t.Parallel()
	for _, maxPayload := range []int32{1 << 20, 4 << 20} {
		t.Run(fmt.Sprint("max_payload=", maxPayload), func(t *testing.T) {
			q := newQueueWithPayload(t, maxPayload)
			size := maxMsgSize(t, q, "NOTIFY_NORMAL")
			subject := JobSubject(Normal, projectA)
			if _, err := q.js.Publish(t.Context(), subject, make([]byte, size+1)); !errors.Is(publishError(err), ErrTooLarge) {
				t.Fatalf("a message above the limit: %v", err)
			}
			raw := garbage(size)
			var ids []string
			for n := 0; n < size-5_000; n += 40 { // quotes and commas included
				ids = append(ids, fmt.Sprintf("%037d", n))
			}
			big := Job{ProjectID: projectA, Message: "m", WovenIDs: ids}
			data, err := big.encode()
			if err != nil {
				t.Fatal(err)
			}
			big.Message = strings.Repeat("m", 1+size-len(data))
			if data, err = big.encode(); err != nil || len(data) != size {
				t.Fatalf("made a job of %d bytes, want %d: %v", len(data), size, err)
			}
			for _, payload := range [][]byte{[]byte(raw), data} {
				if _, err := q.js.Publish(t.Context(), subject, payload); err != nil {
					t.Fatal(err)
				}
			}
			leases := take(t, openJobs(t, q, JobsConfig{}), 2)
			l := leases[1]
			failed := DeadLetter{
				ProjectID: projectA, Priority: Normal, Message: l.Job.Message, WovenIDs: l.Job.WovenIDs, Reason: Rejected,
				History: History{Attempts: 1, PublishedAt: l.PublishedAt}, FailedAt: time.Now().UTC(), Origin: l.Origin(),
			}
			for i, id := range l.Job.WovenIDs {
				failed.Failures = append(failed.Failures, Failure{[]string{id}, fmt.Sprintf("%0500d", i), 200})
			}
			if _, err := q.Bury(deadline(t), []DeadLetter{invalidLetter(leases[0]), failed}); err != nil {
				t.Fatal(err)
			}
			if found := letters(t, q, Filter{Reason: Invalid}); len(found) != 1 || string(found[0].Raw) != raw[:maxRaw] || found[0].RawSize != len(raw) {
				t.Errorf("%d letters about the invalid payload, or other bytes", len(found))
			}
			found := letters(t, q, Filter{Reason: Rejected})
			if len(found) != 1 || len(found[0].WovenIDs) != len(ids) || found[0].Message != big.Message || found[0].Failures[0].Status != 200 {
				t.Fatalf("%d letters about the job, or an incomplete one", len(found))
			}
			if err := Ack(t.Context(), leases); err != nil {
				t.Fatal(err)
			}
			// And it can be replayed, although the replay has headers that the job had not.
			if err := q.Replay(deadline(t), found[0].Seq); err != nil {
				t.Fatal(err)
			}
			if n := stored(t, q, "NOTIFY_NORMAL") + stored(t, q, LaterStream); n != 1 {
				t.Errorf("%d jobs after the replay", n)
			}
			if left := letters(t, q, Filter{Reason: Rejected}); len(left) != 0 {
				t.Errorf("%d letters left after the replay", len(left))
			}
		})
	}
}

// Deferring and splitting the largest job works too: it grows by its headers.
func TestLargestJobComesBack(t *testing.T) {
	t.Parallel()
	q := newQueueWithPayload(t, 1<<20)
	size := maxMsgSize(t, q, "NOTIFY_BULK")
	msg := &nats.Msg{Subject: JobSubject(Bulk, projectA), Data: []byte(with("woven_ids", "")), Header: nats.Header{}}
	msg.Header.Set(jetstream.MsgIDHeader, "x")
	room := size - len(msg.Data) - len("NATS/1.0\r\nNats-Msg-Id: x\r\n\r\n")
	msg.Data = []byte(with("woven_ids", recipientsOf(room)))
	if _, err := q.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	jobs := openJobs(t, q, JobsConfig{WindowBytes: 1}) // one at a time
	l := take(t, jobs, 1)[0]
	if err := Defer(t.Context(), []Deferral{{Lease: l, At: time.Now(), History: History{Attempts: 1, LastError: strings.Repeat("e", 1000), PublishedAt: l.PublishedAt}}}); err != nil {
		t.Fatal(err)
	}
	back := take(t, jobs, 1)[0]
	if len(back.Job.WovenIDs) != len(l.Job.WovenIDs) || back.Priority != Bulk {
		t.Errorf("came back with %d of %d recipients", len(back.Job.WovenIDs), len(l.Job.WovenIDs))
	}
	if err := back.Split(t.Context(), len(back.Job.WovenIDs)/2+1); err != nil {
		t.Fatal(err)
	}
	if err := Ack(t.Context(), []*Lease{back}); err != nil {
		t.Fatal(err)
	}
	take(t, jobs, 1)
}
