package queue

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

// answeredBy has the end of a lease be answered by the test instead of the server.
func answeredBy(t *testing.T, q *Queue, l *Lease, answer func(*nats.Msg)) {
	t.Helper()
	subject := q.nc.NewInbox()
	if _, err := q.nc.Subscribe(subject, answer); err != nil {
		t.Fatal(err)
	}
	l.renewed.Store(&subject)
}

// A stream whose acks are never answered keeps those of other streams from nothing.
func TestAckOfAStreamThatIsSilent(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Urgent, job("silent", "m", "a"))
	publish(t, q, Normal, job("one", "m", "a"))
	jobs := openJobs(t, q, JobsConfig{})
	leases := take(t, jobs, 2)
	for _, l := range leases {
		if l.Job.ID == "silent" {
			answeredBy(t, q, l, func(*nats.Msg) {})
		}
	}
	if err := Ack(deadline(t), leases); err == nil {
		t.Error("acked without an answer")
	}
	if jobs.Held() != 1 || stored(t, q, JobStream(Normal)) != 0 || stored(t, q, JobStream(Urgent)) != 1 {
		t.Errorf("%d jobs are held, %d of another stream are stored", jobs.Held(), stored(t, q, JobStream(Normal)))
	}
}

// An answer counts only if it is still known then that the consumer is the one that delivered the jobs. Before an
// ack that is found out at once.
func TestAckWhileTheConsumerIsNotKnown(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Normal, job("one", "m", "a"))
	jobs := openJobs(t, q, JobsConfig{})
	l := take(t, jobs, 1)[0]
	answeredBy(t, q, l, func(msg *nats.Msg) {
		l.from.sure.Store(0) // as by a connection to another server
		_ = msg.Respond(nil)
	})
	if err := Ack(deadline(t), []*Lease{l}); !errors.Is(err, errReplaced) || jobs.Held() != 1 {
		t.Errorf("%v; %d jobs are held", err, jobs.Held())
	}
	l.renewed.Store(nil)
	l.from.sure.Store(0)
	if err := Ack(deadline(t), []*Lease{l}); err != nil || jobs.Held() != 0 {
		t.Errorf("%v; %d jobs are held", err, jobs.Held())
	}
}

// Who releases a lease that lapsed, or is not known to be of this consumer, says nothing: somebody else may have the
// job.
func TestReleaseOfWhatMayBeSomebodyElses(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	publish(t, q, Normal, job("lapsed", "m", "a"), job("unsure", "m", "a"), job("mine", "m", "a"))
	jobs := openJobs(t, q, JobsConfig{})
	said := make(chan string, 3)
	for _, l := range take(t, jobs, 3) {
		answeredBy(t, q, l, func(*nats.Msg) { said <- l.Job.ID })
		sure := l.from.sure.Load()
		switch l.Job.ID {
		case "lapsed":
			l.LapseAt(q.Now())
		case "unsure":
			l.from.sure.Store(0)
		}
		l.Release()
		l.from.sure.Store(sure)
	}
	if err := q.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case first := <-said:
		if first != "mine" || len(said) > 0 || jobs.Held() != 0 {
			t.Errorf("%s was given back, and %d more; %d are held", first, len(said), jobs.Held())
		}
	case <-deadline(t).Done():
		t.Error("nothing was given back")
	}
}

// Whoever is stopping takes in no jobs any more, and so hears from nobody that the consumer is gone or has forgotten
// what it delivered, as after nats-server was killed. It does not answer such acks. What is done is taken out all the same.
func TestAcksThatTheConsumerDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(q *Queue) error{
		"gone": func(q *Queue) error {
			return q.js.DeleteConsumer(t.Context(), JobStream(Normal), ConsumerName)
		},
		"forgetful": func(q *Queue) error {
			_, err := q.js.ResetConsumerToSequence(t.Context(), JobStream(Normal), ConsumerName, 4)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(t)
			publishMany(t, q, 0, 10)
			jobs := openJobs(t, q, JobsConfig{})
			held := take(t, jobs, 10)
			jobs.Close()
			if err := forget(q); err != nil {
				t.Fatal(err)
			}
			if err := Ack(deadline(t), held); err == nil {
				t.Error("the server confirmed acks of what it does not know")
			}
			if err := Ack(deadline(t), held); err != nil {
				t.Error(err)
			}
			if left := stored(t, q, JobStream(Normal)); left != 0 || jobs.Held() != 0 {
				t.Errorf("%d jobs are stored and %d held at the end", left, jobs.Held())
			}
		})
	}
}
