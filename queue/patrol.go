package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// overdueAfter is how long after its time a schedule that is still there counts as forgotten by the server,
	// which fires one within a quarter of a second, and 50,000 in one.
	overdueAfter = 30 * time.Second
	// A patrol reads this much at a time, a millisecond's work of the server, and rests before it reads more: a
	// moment only while it finds what is overdue.
	patrolMessages  = 500
	patrolBytes     = 4 << 20
	patrolEvery     = 10 * time.Second
	patrolAfterFind = 200 * time.Millisecond
	patrolPatience  = 5 * time.Second
)

// patrol walks through the schedules in NOTIFY_LATER and has those fire that the server has forgotten.
//
// nats-server marks a schedule while it fires, and takes the mark away only when the message was stored where it
// goes. If that failed because the storage was full, or while the stream grew from one replica to three, the mark
// stays until another server leads the stream. A schedule that is published again on its subject has none.
type patrol struct {
	q       *Queue
	next    uint64 // the sequence to go on with
	overdue int    // found in this walk so far
	last    int    // found in the walk before
}

// watchSchedules patrols until Close.
func (j *Jobs) watchSchedules() {
	p := patrol{q: j.q}
	for rest := patrolEvery; ; {
		select {
		case <-j.stopped.Done():
			return
		case <-time.After(rest):
		}
		found, err := p.walk(j.stopped)
		if j.stopped.Err() != nil {
			return
		}
		rest = patrolEvery
		if found && err == nil {
			rest = patrolAfterFind
		}
		j.patrolled(max(p.overdue, p.last), err)
	}
}

// patrolled takes down what a patrol found, and why it could not mend that.
func (j *Jobs) patrolled(overdue int, err error) {
	if err != nil && !j.q.nc.IsConnected() {
		return // that is reported elsewhere
	}
	j.mu.Lock()
	j.overdue = overdue
	fresh := false
	if err == nil {
		j.unfired = nil
	} else {
		detail := oneLine(err.Error(), maxWords)
		if fresh = j.unfired == nil; fresh {
			j.unfired = &Condition{What: "have jobs fire whose time has come", Since: j.q.Now()}
		}
		j.unfired.Detail = detail
	}
	j.mu.Unlock()
	if fresh {
		j.cfg.OnError(fmt.Errorf("have jobs fire whose time has come: %w", err))
	}
}

// Overdue is how many schedules a patrol through NOTIFY_LATER found last that the server should have fired half
// a minute before. They are written anew, so that it does.
func (j *Jobs) Overdue() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.overdue
}

// walk reads the next schedules, and mends what is wrong with them. It reports whether anything was.
func (p *patrol) walk(ctx context.Context) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patrolPatience)
	defer cancel()
	msgs, err := p.q.readSchedules(ctx, p.next)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", LaterStream, err)
	}
	if len(msgs) == 0 { // the walk is over
		p.next, p.last, p.overdue = 0, p.overdue, 0
		return false, nil
	}
	var again []*nats.Msg
	var letters []DeadLetter
	var foreign []place
	now := p.q.Now()
	for _, m := range msgs {
		p.next = m.seq + 1
		at, readable := m.due()
		switch {
		case !readable:
			letters = append(letters, m.letter(now))
			foreign = append(foreign, m.lease().place())
		case m.overdue(at, now):
			again = append(again, m.again())
		}
	}
	p.overdue += len(again)
	return len(again)+len(letters) > 0, errors.Join(p.q.fireAgain(ctx, again), p.q.buryForeign(ctx, letters, foreign))
}

// codeWrongSequence is the error of a message that expected another one to be the last on its subject.
const codeWrongSequence jetstream.ErrorCode = 10071

// fireAgain publishes overdue schedules again, each only if it still is there: another worker may have done the
// same, and the server may have fired it.
func (q *Queue) fireAgain(ctx context.Context, msgs []*nats.Msg) error {
	var failed []error
	for _, msg := range msgs {
		_, err := q.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
		if api, ok := errors.AsType[*jetstream.APIError](err); err != nil && (!ok || api.ErrorCode != codeWrongSequence) {
			failed = append(failed, publishError(err))
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("write %d of %d overdue schedules again: %w", len(failed), len(msgs), failed[0])
}

// buryForeign moves messages that will never fire to the dead letters, where they can be seen and dropped.
func (q *Queue) buryForeign(ctx context.Context, letters []DeadLetter, places []place) error {
	failed, err := q.Bury(ctx, letters)
	bad := map[int]bool{}
	for _, i := range failed {
		bad[i] = true
	}
	for i := range places {
		if !bad[i] {
			err = errors.Join(err, q.remove(ctx, LaterStream, places[i]))
		}
	}
	return err
}

// scheduled is a message on the subject of a schedule.
type scheduled struct {
	subject string
	seq     uint64
	stored  time.Time
	header  nats.Header
	data    []byte
}

// due is when the server is to fire the schedule. What has another form of time is not ours, but fires.
func (m scheduled) due() (at time.Time, readable bool) {
	text := m.header.Get(headerSchedule)
	if text == "" || m.header.Get(headerTarget) == "" {
		return at, false
	}
	if rest, ok := strings.CutPrefix(text, scheduleAt); ok {
		at, err := time.Parse(time.RFC3339Nano, rest)
		return at, err == nil
	}
	return m.stored.Add(maxDelay), true
}

// overdue reports whether the server has forgotten a schedule that was due at a time. One that was just written anew
// it has not.
func (m scheduled) overdue(at, now time.Time) bool {
	return now.Sub(at) > overdueAfter && now.Sub(m.stored) > overdueAfter
}

// again is the message by which the schedule replaces itself. It has no id: the server knows that already.
func (m scheduled) again() *nats.Msg {
	msg := &nats.Msg{Subject: m.subject, Header: nats.Header{}, Data: m.data}
	for name, values := range m.header {
		if !strings.HasPrefix(name, "Nats-") || name == headerSchedule || name == headerTarget {
			msg.Header[name] = values
		}
	}
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(m.seq, 10))
	return msg
}

// lease stands for the message where its place is asked for.
func (m scheduled) lease() *Lease { return &Lease{Stream: LaterStream, Seq: m.seq, StoredAt: m.stored} }

// letter is what is kept of a message that will never fire.
func (m scheduled) letter(now time.Time) DeadLetter {
	project, _, _ := strings.Cut(strings.TrimPrefix(m.subject, laterPrefix), ".")
	if !validProject(project) {
		project = UnknownProject
	}
	detail := "it stood among the jobs that wait for their time, without a time"
	return DeadLetter{
		ProjectID: project, Priority: Normal, Reason: Invalid, Raw: m.data, Failures: []Failure{{Detail: detail}},
		FailedAt: now, History: History{PublishedAt: m.stored}, Origin: m.lease().Origin(),
	}
}

// readSchedules reads some messages from the sequence on. A consumer would keep the server from firing them.
func (q *Queue) readSchedules(ctx context.Context, from uint64) (msgs []scheduled, err error) {
	question, err := json.Marshal(struct {
		Seq      uint64 `json:"seq"`
		Subject  string `json:"next_by_subj"`
		Batch    int    `json:"batch"`
		MaxBytes int    `json:"max_bytes"`
	}{max(1, from), laterPrefix + ">", patrolMessages, patrolBytes})
	if err != nil {
		return nil, err
	}
	inbox := q.nc.NewInbox()
	sub, err := q.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := q.nc.PublishRequest(q.apiSubject("DIRECT.GET."+LaterStream), inbox, question); err != nil {
		return nil, err
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		seq, _ := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
		if seq == 0 { // the server's word, no message: the end, or that there is none
			if status := m.Header.Get("Status"); status != "204" && status != "404" {
				return nil, fmt.Errorf("the server answers %q %s", status, m.Header.Get("Description"))
			}
			return msgs, nil
		}
		stored, _ := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
		msgs = append(msgs, scheduled{m.Header.Get(jetstream.SubjectHeader), seq, stored, m.Header, m.Data})
	}
}
