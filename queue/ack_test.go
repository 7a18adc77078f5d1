package queue

import "testing"

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
