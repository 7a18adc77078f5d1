package queue

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestBoundsOfAJob(t *testing.T) {
	recipient := strings.Repeat("w", MaxRecipientLength)
	text := strings.Repeat("é", MaxMessageLength/2)
	if err := job("one", text, recipient).Validate(); err != nil {
		t.Errorf("a job at its bounds: %v", err)
	}
	capitals := job("one", "m", "w")
	capitals.ProjectID = strings.ToUpper(projectA)
	for _, c := range []struct {
		job   Job
		fault string
	}{
		{job("one", text+"m", "w"), "message has 16385 bytes, must have at most 16384"},
		{job("one", "m", "w", recipient+"w"), "woven_ids[1] has 257 bytes, must have at most 256"},
		{capitals, "must be in lower case"},
	} {
		for where, check := range map[string]func() error{
			"validated": c.job.Validate,
			"decoded":   func() error { _, err := DecodeJob(encoded(t, c.job)); return err },
		} {
			if err := check(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", where, err, c.fault)
			}
		}
	}
}

func encoded(t *testing.T, j Job) []byte {
	t.Helper()
	data, err := j.encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A job may wait for a year; that is counted from its publication, on both sides.
func TestDeliverAtIsBounded(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	near, far := job("near", "m", "w"), job("far", "m", "w")
	near.DeliverAt, far.DeliverAt = time.Now().Add(MaxAhead-time.Hour), time.Now().Add(MaxAhead+time.Hour)
	publish(t, q, Normal, near)
	if _, err := q.Publisher(PublisherConfig{}).Publish(deadline(t), Normal, far); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "366 days") {
		t.Errorf("published: %v", err)
	}
	if _, err := q.js.Publish(deadline(t), JobSubject(Normal, projectA), encoded(t, far)); err != nil {
		t.Fatal(err)
	}
	for _, l := range take(t, openJobs(t, q, JobsConfig{}), 2) {
		if (l.Invalid != nil) != (l.Job.ID == "far") || l.Invalid != nil && !strings.Contains(l.Invalid.Error(), "366 days") {
			t.Errorf("leased %s: %v", l.Job.ID, l.Invalid)
		}
	}
}

// A project in capitals is invalid wherever it stands.
func TestProjectInCapitals(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	upper := strings.ToUpper(projectA)
	for subject, id := range map[string]string{upper: projectA, projectA: upper} {
		if _, err := q.js.Publish(deadline(t), JobSubject(Normal, subject), []byte(fmt.Sprintf(`{"project_id":%q,"message":"m","woven_ids":["w"]}`, id))); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range take(t, openJobs(t, q, JobsConfig{}), 2) {
		if l.Invalid == nil || !strings.Contains(l.Invalid.Error(), "in lower case") {
			t.Errorf("leased: %v", l.Invalid)
		}
	}
}

// What is decoded pins about its own size, and not the payload with its repetitions.
func TestDecodedJobPinsLittle(t *testing.T) {
	for name, list := range map[string]string{
		"repetitions": strings.TrimSuffix(strings.Repeat(`"a","b",`, 125_000), ","),
		"blanks":      `"a"` + strings.Repeat(" ", 1_000_000),
		"escapes":     `"b","` + strings.Repeat(`\u0061`, 200) + `"` + strings.Repeat(`,"b"`, 250_000),
	} {
		data := []byte(`{"project_id":"` + projectA + `","message":"m","woven_ids":[` + list + `]}`)
		const n = 20
		jobs := make([]Job, n)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range jobs {
			var err error
			if jobs[i], err = DecodeJob(data); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 16<<10 {
			t.Errorf("%s: a job of %d recipients pins %d bytes", name, len(jobs[0].WovenIDs), each)
		}
		runtime.KeepAlive(jobs)
	}
}

// What a lease takes in memory is charged, which for many short recipients is far more than their payload: each has
// a place in the job, in a batch and in a call.
func TestSizeOfALease(t *testing.T) {
	const n = 10_000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = "w"
	}
	dead := letter("one", 1, ids...)
	dead.Failures = nil
	for name, c := range map[string]struct {
		lease *Lease
		least int
	}{
		"recipients": {&Lease{Job: job("one", "m", ids...)}, n * 64},
		"a letter":   {&Lease{Letter: &dead}, n * 32},
		"a payload":  {&Lease{Raw: make([]byte, n)}, n},
		"headers":    {&Lease{History: History{Headers: map[string][]string{"A": {strings.Repeat("v", n)}}}}, n},
	} {
		if l := NewLease(c.lease, nil); l.Size() < c.least {
			t.Errorf("%s: %d bytes are charged, want %d at least", name, l.Size(), c.least)
		}
	}
}

// recipientsOf is the JSON of a list of recipients that takes exactly so many bytes.
func recipientsOf(bytes int) string {
	var b strings.Builder
	b.WriteString(`["w"`)
	for i := 0; b.Len()+220 < bytes; i++ {
		fmt.Fprintf(&b, `,"%0200d"`, i)
	}
	for i := 0; b.Len()+10 < bytes; i++ {
		fmt.Fprintf(&b, `,"%06d"`, i)
	}
	if rest := bytes - b.Len() - 1; rest > 0 { // at most nine
		b.WriteString(strings.Repeat(" ", rest))
	}
	return b.String() + "]"
}
