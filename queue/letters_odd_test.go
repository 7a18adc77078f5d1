package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// buryAny buries a job as a worker does: as invalid, or as rejected for all its recipients.
func buryAny(t *testing.T, q *Queue, l *Lease) {
	t.Helper()
	dead := invalidLetterOr(l)
	if failed, err := q.Bury(deadline(t), []DeadLetter{dead}); err != nil {
		t.Errorf("bury %s: %v, %v", l.Origin(), failed, err)
	}
}

func invalidLetterOr(l *Lease) DeadLetter {
	if l.Invalid != nil {
		return invalidLetter(l)
	}
	return DeadLetter{
		JobID: l.Job.ID, ProjectID: l.Job.ProjectID, Priority: l.Priority, Message: l.Job.Message, WovenIDs: l.Job.WovenIDs, Reason: Rejected,
		Failures: []Failure{{l.Job.WovenIDs, "no \xff", 200}}, History: l.History, FailedAt: time.Now(), Origin: l.Origin(),
	}
}

// Whatever stands in a job stream ends in a letter that can be listed, and most of it can be replayed.
func TestOddJobsEndAsLetters(t *testing.T) {
	t.Parallel()
	q := newQueueWithPayload(t, 1<<20)
	good := with("message", `"m"`)
	control := with("message", `"\u0000\u0007\u001b[2J\u202e\r\n"`)
	base := JobSubject(Normal, projectA)
	type odd struct {
		subject, payload string
		headers          []string
	}
	all := []odd{
		{base, good, []string{"X-A: nul\x00nul"}}, {base, good, []string{"X-A: cr\rcr"}}, {base, good, []string{"X-A:\xff\xfe"}}, {base, good, []string{"X-A: \x1b[2J"}},
		{base, good, []string{"X-A: " + strings.Repeat("v", 60<<10)}}, {base, "", []string{"X-A: " + strings.Repeat("v", 60<<10)}},
		{base, good, []string{"Chatrelay-Attempts: 9223372036854775808", "Chatrelay-Deferrals: -1"}}, {base, good, []string{"Chatrelay-Published: 9999-12-31T23:59:59Z"}},
		{base, good, []string{"Chatrelay-Letter: normal-7"}}, {base, good, []string{"Chatrelay-Ambiguous: 9*1"}}, {base, good, []string{"Chatrelay-Error: \xff"}},
		{base, "", nil}, {base, "\x00", nil}, {base, "\xff\xfe", nil}, {base, control, nil}, {base, "{", nil}, {base, "null", nil},
		{base, with("woven_ids", `["\u0000","\ud83d\ude00",". >*"]`), nil}, {base, with("id", `"\u0000"`), nil},
		{base, with("message", "\"\xff\""), nil}, {base, with("message", `"`+strings.Repeat("\\u0000", 50_000)+`"`), nil},
		{base, with("woven_ids", `["`+strings.Repeat("w", 300_000)+`"]`), nil}, {base, with("deliver_at", `"0000-01-01T00:00:00Z"`), nil},
		{base, with("expires_at", `"9999-12-31T23:59:59+23:59"`), nil}, {base, with("project_id", `"`+projectB+`"`), nil},
		{base, garbage(350_000), []string{"X-A: " + strings.Repeat("v", 60<<10)}},
		{JobSubject(Normal, "\xff\xfe"), good, nil}, {JobSubject(Normal, "\x01\x02"), good, nil}, {JobSubject(Normal, "\"'`$(x)"), good, nil},
		{JobSubject(Normal, "caf\u00e9"), good, nil}, {JobSubject(Normal, strings.Repeat("p", 500)), good, nil}, {JobSubject(Normal, "_"), good, nil},
		{JobSubject(Normal, strings.ToUpper(projectA)), good, nil}, {JobSubject(Normal, "\xc3"), "\xc3", []string{"X-A: \xc3"}},
	}
	for _, o := range all {
		publishRaw(t, q, o.subject, o.payload, append(o.headers, "X-Any: 1")...)
	}
	jobs := openJobs(t, q, JobsConfig{})
	leases := take(t, jobs, len(all))
	for _, l := range leases {
		if l.Letter != nil || l.Attempts+l.Deferrals+l.Replays+len(l.Ambiguous)+len(l.LastError) != 0 || l.PublishedAt.After(time.Now().Add(time.Minute)) {
			t.Errorf("a producer's headers were believed: %+v", l.History)
		}
		buryAny(t, q, l)
	}
	if err := Ack(deadline(t), leases); err != nil {
		t.Fatal(err)
	}
	found := letters(t, q, Filter{})
	if len(found) != len(all) {
		t.Fatalf("%d letters of %d jobs", len(found), len(all))
	}
	for _, l := range found {
		if l.Untrusted != "" || len(l.Raw) > maxRaw || l.Reason == Invalid && headersSize(l.Headers) > maxInvalidHeaders {
			t.Errorf("letter %d: untrusted %q, %d bytes raw, headers of %d", l.Seq, l.Untrusted, len(l.Raw), headersSize(l.Headers))
		}
		if err := q.Replay(deadline(t), l.Seq); err != nil && !(l.Reason == Invalid && errors.Is(err, ErrNotReplayable)) {
			t.Errorf("replay letter %d of %s: %v", l.Seq, l.Reason, err)
		}
	}
}

// A letter is stored, whatever it holds, also when the server takes less than it did.
func TestEveryLetterFits(t *testing.T) {
	t.Parallel()
	q := newQueueWithPayload(t, 1<<20)
	limit(t, q, DeadStream, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 64 << 10 })
	ids := make([]string, 4000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%036d", i)
	}
	many := letter("many", 1, ids...)
	long := letter("long", 2, "a", "b")
	long.Message = "m" + strings.Repeat("☕", 100_000) // a character is cut nowhere
	control := letter("control", 3, "a")
	control.Message = strings.Repeat("\x01", 60_000)
	giant := letter("giant", 4, strings.Repeat("w", 200_000))
	both := letter("both", 9, strings.Repeat("w", 200_000)) // is cut, and cut again
	both.Message = strings.Repeat("m", 300_000)
	raw := invalidLetter(&Lease{Stream: "NOTIFY_NORMAL", Seq: 5, Priority: Normal, Invalid: ErrInvalid, Raw: []byte(garbage(500_000))})
	raw.Headers = map[string][]string{"A": {strings.Repeat("v", 8<<10)}}
	text := letter("\xff", 6, "\xff")
	text.Origin, text.Reason, text.Priority, text.ProjectID, text.FailedAt = "a b.c>\xff", "x y", "\x00", "*", time.Unix(1<<60, 0)
	text.History = History{Attempts: -1, PublishedAt: time.Unix(-1<<60, 0), LastError: "\xff\r\n", Headers: map[string][]string{"X\r": {"y"}, "Z": {"\r\n"}}}
	headers := letter("headers", 7, "a")
	headers.Headers = map[string][]string{"A": {strings.Repeat("v", 40<<10)}}
	headers.Message = strings.Repeat("m", 40<<10)
	fine := letter("fine", 8, "a")
	if failed, err := q.Bury(deadline(t), []DeadLetter{many, long, control, giant, both, raw, text, headers, fine}); err != nil {
		t.Fatal(failed, err)
	}
	found := map[string][]DeadLetter{}
	for _, l := range letters(t, q, Filter{}) {
		if l.Untrusted != "" {
			t.Errorf("%s is not trusted: %s", l.JobID, l.Untrusted)
		}
		found[l.JobID] = append(found[l.JobID], l)
	}
	var got []string
	for _, part := range found["many"] {
		got = append(got, part.WovenIDs...)
		if part.Message != many.Message {
			t.Error("a part has another message")
		}
		if err := q.Replay(deadline(t), part.Seq); err != nil {
			t.Errorf("replay a part: %v", err)
		}
	}
	if strings.Join(got, "") != strings.Join(ids, "") || len(found["many"]) < 3 {
		t.Errorf("%d parts hold %d recipients", len(found["many"]), len(got))
	}
	for name, whole := range map[string]string{"long": long.Message, "control": control.Message, "giant": giant.Message, "both": both.Message} {
		l := found[name][0]
		if len(found[name]) != 1 || l.MessageSize != len(whole) || l.MessageSHA256 != hash([]byte(whole)) || !strings.HasPrefix(whole, l.Message) {
			t.Errorf("%s: %d letters, message of %d, %d kept", name, len(found[name]), l.MessageSize, len(l.Message))
		}
		if err := q.Replay(deadline(t), l.Seq); !errors.Is(err, ErrNotReplayable) || errors.Is(err, ErrUntrusted) {
			t.Errorf("replay %s: %v", name, err)
		}
	}
	if l := found[""][0]; l.RawSize != 500_000 || l.RawSHA256 != hash(raw.Raw) || len(l.Raw) < 16<<10 || len(l.Headers) != 0 || len(raw.Headers) != 1 {
		t.Errorf("raw of %d bytes, %d kept; %d headers, and %d of the lease", l.RawSize, len(l.Raw), len(l.Headers), len(raw.Headers))
	}
	if l := found["headers"][0]; len(l.Headers) != 0 || l.Message != headers.Message {
		t.Errorf("kept %d headers", len(l.Headers))
	}
	if l := found["\uFFFD"][0]; l.ProjectID != UnknownProject || l.Attempts != 0 || !strings.HasPrefix(l.Origin, "a_b_c__-") {
		t.Errorf("odd text is read as %+v", l)
	}
	if len(found["fine"]) != 1 {
		t.Error("the good letter of the same call is missing")
	}
}

// One letter's failure is its own, and a stream that takes less than the server is no failure.
func TestOneLetterFails(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	limit(t, q, DeadStream, func(c *jetstream.StreamConfig) { c.MaxMsgs, c.MaxMsgSize = 2, 20_000 })
	big := letter("big", 1, "a")
	big.Message = strings.Repeat("m", 100_000)
	failed, err := q.Bury(deadline(t), []DeadLetter{letter("one", 1, "a"), letter("two", 2, "a"), letter("three", 3, "a"), letter("one", 1, "a")})
	if !errors.Is(err, ErrFull) || len(failed) != 1 || failed[0] != 2 {
		t.Errorf("failed %v, %v", failed, err)
	}
	if found := letters(t, q, Filter{}); len(found) != 2 {
		t.Errorf("%d letters", len(found))
	}
	limit(t, q, DeadStream, func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 })
	if failed, err := q.Bury(deadline(t), []DeadLetter{big, letter("three", 3, "a")}); err != nil {
		t.Error(failed, err)
	}
	if err := q.js.DeleteStream(t.Context(), DeadStream); err != nil {
		t.Fatal(err)
	}
	if failed, err := q.Bury(deadline(t), []DeadLetter{big, letter("three", 3, "a")}); !errors.Is(err, ErrNoStream) || len(failed) != 2 {
		t.Errorf("without a stream: failed %v, %v", failed, err)
	}
}

// A letter of which one part is not stored counts as not stored, whichever part it is.
func TestOnePartOfALetterFails(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	var ids []string
	for i := range 400 { // the last part is small
		ids = append(ids, fmt.Sprintf("%0*d", 10+240*(1-i/200), i))
	}
	limit(t, q, DeadStream, func(c *jetstream.StreamConfig) { c.MaxMsgSize, c.MaxBytes = 32<<10, 20_000 })
	failed, err := q.Bury(deadline(t), []DeadLetter{letter("one", 1, ids...)})
	if !errors.Is(err, ErrFull) || !slices.Equal(failed, []int{0}) || stored(t, q, DeadStream) == 0 {
		t.Errorf("failed %v, %v; %d parts are stored", failed, err, stored(t, q, DeadStream))
	}
}

// What the server does not answer in time is not buried, nor is what was to follow.
func TestBuryWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	if err := q.js.DeleteStream(t.Context(), DeadStream); err != nil {
		t.Fatal(err)
	}
	if _, err := q.nc.Subscribe(deadPrefix+">", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	all := []DeadLetter{letter("one", 1, "a"), letter("two", 2, "a"), letter("three", 3, "a")}
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	over, end := context.WithCancel(t.Context())
	end()
	for _, ctx := range []context.Context{brief, over} {
		if failed, err := q.Bury(ctx, all); !errors.Is(err, ctx.Err()) || !slices.Equal(failed, []int{0, 1, 2}) {
			t.Errorf("failed %v, %v", failed, err)
		}
	}
}

// What stands under notify.dead is listed, counted and droppable, and never becomes a job of a project that its
// subject does not name.
func TestLettersThatAreNotOurs(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	body := func(project, reason string) string {
		return fmt.Sprintf(`{"job_id":"one","project_id":%q,"priority":"normal","message":"m","woven_ids":["a"],"reason":%q,"untrusted":"","failures":[]}`, project, reason)
	}
	all := []struct{ subject, body string }{
		{projectA + ".rejected.normal-1", body(projectB, "rejected")}, {projectA + ".rejected.normal-2", body(projectA, "expired")},
		{projectA + ".rejected", body(projectA, "rejected")}, {projectA, body(projectA, "rejected")}, {projectA + ".rejected.normal-1.x", body(projectA, "rejected")},
		{"\xff.rejected.normal-1", body("\xff", "rejected")}, {projectA + ".rejected.normal-9", "oops"}, {projectA + ".rejected.normal-10", "null"},
		{projectA + ".odd.normal-3", body(projectB, "odd")}, {"x", ""},
	}
	for _, m := range all {
		if _, err := q.js.Publish(t.Context(), deadPrefix+m.subject, []byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.js.Publish(t.Context(), deadPrefix+projectA+".unheard.normal-4", []byte(body(projectA, "unheard"))); err != nil {
		t.Fatal(err)
	}
	found := letters(t, q, Filter{})
	st, err := q.Status(t.Context(), time.Millisecond)
	if err != nil || len(found) != len(all)+1 || int(st.Dead) != len(found) || st.DeadByReason[Rejected] != 5 || st.DeadByReason[other] != 6 {
		t.Errorf("%d found, %d counted: %v, %v", len(found), st.Dead, st.DeadByReason, err)
	}
	for _, l := range found {
		if l.ProjectID == projectB {
			t.Errorf("letter %d is shown as of another project", l.Seq)
		}
		err := q.Replay(deadline(t), l.Seq)
		if l.Reason == "unheard" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, ErrUntrusted) || l.Untrusted == "" {
			t.Errorf("replay of letter %d %q: %v", l.Seq, l.Untrusted, err)
		}
	}
	if n := stored(t, q, LaterStream); n != 1 {
		t.Errorf("%d jobs were made", n)
	}
	if n := len(letters(t, q, Filter{Reason: Invalid})) + len(letters(t, q, Filter{Reason: Rejected})) + len(letters(t, q, Filter{Reason: "odd"})); n != len(all) {
		t.Errorf("by reason %d of %d are found", n, len(all))
	}
	for _, l := range letters(t, q, Filter{}) {
		if err := q.Drop(deadline(t), l.Seq); err != nil {
			t.Error(err)
		}
	}
	if n := stored(t, q, DeadStream); n != 0 {
		t.Errorf("%d letters left", n)
	}
}

// Letters that could not be buried come back as leases of their own, once, and producers cannot send such.
func TestPostponedLetters(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Urgent, job("one", "m", "a", "b", "c"))
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	first, second := letter("one", 0, "a"), letter("one", 0, "b")
	first.Origin, second.Origin, second.Reason = l.Origin(), l.Origin(), Expired
	first.Headers = map[string][]string{"Traceparent": {"x"}}
	d := Deferral{Lease: l, At: time.Now(), WovenIDs: []string{}, Letters: []DeadLetter{first, second}, History: l.History}
	for range 2 { // a crash between the schedules and the ack repeats them
		if err := jobs.Defer(deadline(t), []Deferral{d}); err != nil {
			t.Fatal(err)
		}
	}
	again := take(t, jobs, 2)
	for _, l := range again {
		if l.Letter == nil || l.Invalid != nil || l.Letter.Origin != first.Origin || l.Priority != Urgent || l.Letter.Message != "m ☕" {
			t.Fatalf("came back as %+v", l)
		}
	}
	// One of them has to wait once more.
	if err := Defer(deadline(t), []Deferral{{Lease: again[0], At: time.Now(), WovenIDs: []string{}, Letters: []DeadLetter{*again[0].Letter}}}); err != nil {
		t.Fatal(err)
	}
	third := take(t, jobs, 1)[0]
	if third.Deferrals != 1 || third.Letter == nil {
		t.Fatalf("came back as %+v", third)
	}
	bury(t, q, *third.Letter, *again[1].Letter)
	if err := Ack(deadline(t), []*Lease{third, again[1]}); err != nil {
		t.Fatal(err)
	}
	found := letters(t, q, Filter{})
	if len(found) != 2 || found[0].Origin != first.Origin || found[0].Reason == found[1].Reason || len(found[0].Headers)+len(found[1].Headers) != 1 {
		t.Errorf("letters %+v", found)
	}
	if n := stored(t, q, LaterStream); n != 0 {
		t.Errorf("%d messages left", n)
	}
	// What cannot be read back is an invalid job.
	for _, m := range []*nats.Msg{
		{Subject: duePrefix + "urgent." + projectA, Data: []byte("oops")},
		{Subject: duePrefix + "urgent." + projectB, Data: []byte(`{"project_id":"` + projectA + `","reason":"rejected"}`)},
		{Subject: duePrefix + "odd." + projectA, Data: []byte(`{"project_id":"` + projectA + `","reason":"rejected"}`)},
	} {
		m.Header = nats.Header{headerLetter: {"normal-7"}}
		if _, err := q.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range take(t, jobs, 3) {
		if l.Letter != nil || l.Invalid == nil || len(l.Raw) == 0 {
			t.Errorf("came as %+v", l)
		}
	}
}
