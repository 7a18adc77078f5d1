package worker

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

var (
	modelSeed  = flag.Uint64("model.seed", 0, "run the model test with this seed only")
	modelSeeds = flag.Uint64("model.seeds", 200, "how many seeds the model test runs with")
)

// TestModel lets everything happen that can: workers that are stopped or killed at any moment and
// replaced, an API and a queue with every fault, jobs of every shape. The world checks the rules
// throughout; in the end the faults cease, everything drains, and the accounts must be right.
func TestModel(t *testing.T) {
	if *modelSeed != 0 {
		runModel(t, *modelSeed)
		return
	}
	n := *modelSeeds
	if testing.Short() {
		n = 30
	}
	begin := time.Now()
	for seed := uint64(1); seed <= n; seed++ {
		runModel(t, seed)
	}
	t.Logf("%d seeds in %v", n, time.Since(begin).Round(time.Second))
}

// model is what a seed makes of the world.
type model struct {
	w *world
	// One for the story, one for answers and burials, one for the ends of leases: each is used by
	// one goroutine at a time.
	rng, faults, ends *rand.Rand
	trouble           float64 // how likely each kind of fault is
	limit             int     // calls larger than that are refused with 413; 0: none
	rude              string  // a message that is refused whoever it is for
	graves            error   // of every letter; nil: they are stored
	odd               bool    // some letters cannot be stored
	stuck             bool    // nothing can be deferred
}

func runModel(t *testing.T, seed uint64) {
	inWorld(t, func(t *testing.T, w *world) {
		m := &model{w: w, rng: rand.New(rand.NewPCG(seed, 1)), faults: rand.New(rand.NewPCG(seed, 2)), ends: rand.New(rand.NewPCG(seed, 3))}
		m.trouble = []float64{0, 0.01, 0.05, 0.2}[m.rng.IntN(4)]
		if m.rng.IntN(4) == 0 {
			m.limit = 1 + m.rng.IntN(20)
		}
		if m.rng.IntN(4) == 0 {
			m.rude = "text1"
		}
		w.latency = time.Duration(m.rng.IntN(200)) * time.Millisecond
		w.fetch = m.rng.IntN(30)
		w.answer = m.answer
		m.graves = []error{nil, nil, nil, errDown, queue.ErrFull, errHang}[m.rng.IntN(6)]
		m.odd, m.stuck = m.rng.IntN(4) == 0, m.rng.IntN(6) == 0
		w.refuses = func(l queue.DeadLetter) bool { return m.odd && len(l.WovenIDs)%2 == 1 }
		w.buryErr = func(letters []queue.DeadLetter) (int, error) {
			if m.graves != nil {
				return 0, m.graves
			}
			if m.happens(2) {
				return m.faults.IntN(len(letters) + 1), errDown
			}
			return len(letters), nil
		}
		fault := func() error {
			if m.ends.Float64() < m.trouble {
				return errDown
			}
			return nil
		}
		w.ackErr, w.ackLost = fault, fault
		w.splitErr = func() (bool, error) { return m.ends.IntN(2) == 0, fault() }
		w.deferErr = func() (bool, error) {
			if m.stuck {
				return false, queue.ErrFull
			}
			return m.ends.IntN(2) == 0, fault()
		}
		defer func() {
			if t.Failed() {
				t.Logf("again: go test -race ./worker -run TestModel -model.seed=%d", seed)
			}
		}()
		m.run(t)
	})
}

func (m *model) happens(weight float64) bool { return m.faults.Float64() < m.trouble*weight }

// answer is the API.
func (m *model) answer(c call) (chatapi.Report, error) {
	fail := func(kind chatapi.Kind, status int, told bool, after time.Duration) (chatapi.Report, error) {
		return chatapi.Report{}, &chatapi.Error{Kind: kind, Status: status, MayBeDelivered: told, RetryAfter: after, Detail: "as the dice fell"}
	}
	switch {
	case m.limit > 0 && len(c.ids) > m.limit:
		return fail(chatapi.Refused, 413, false, 0)
	case c.message == m.rude:
		return fail(chatapi.Refused, 400, false, 0)
	case !m.happens(6):
	case m.faults.IntN(30) == 0:
		panic("in the middle of a call")
	default:
		switch m.faults.IntN(10) {
		case 0:
			return fail(chatapi.Limited, 429, false, time.Duration(m.faults.IntN(20))*time.Second)
		case 1:
			return fail(chatapi.Credential, 403, false, 0)
		case 2:
			return fail(chatapi.Unreadable, 200, true, 0)
		case 3:
			return fail(chatapi.Unreadable, 200, false, 0)
		case 4:
			return fail(chatapi.Temporary, 504, true, 0)
		case 5:
			return fail(chatapi.Refused, 422, false, 0) // and next time not
		case 6:
			return chatapi.Report{}, fmt.Errorf("an error of no known type")
		default:
			return fail(chatapi.Temporary, 503, false, 0)
		}
	}
	if report, err := refusing(c); err != nil {
		return report, err
	}
	var failed []string
	for _, id := range c.ids {
		if id[0] == 'r' || m.happens(0.2) {
			failed = append(failed, id)
		}
	}
	if failed == nil {
		return chatapi.Report{}, nil
	}
	return chatapi.Report{Failures: []chatapi.Failure{{WovenIDs: failed, Reason: "blocked"}}}, nil
}

// run tells the story: some hundred steps, and then peace.
func (m *model) run(t *testing.T) {
	w, rng := m.w, m.rng
	cfg := Config{
		MaxRecipients: 1 + rng.IntN(40), Concurrency: 1 + rng.IntN(6), Linger: time.Duration(rng.IntN(60)-1) * time.Millisecond,
		RetryFor: time.Duration(1+rng.IntN(300)) * time.Second, Grace: time.Duration(1+rng.IntN(20)) * time.Second,
	}
	workers := []*running{w.start(cfg)}
	for range 100 + rng.IntN(200) {
		switch i := rng.IntN(len(workers)); rng.IntN(30) {
		case 0:
			workers[i].crash()
			workers[i] = w.start(cfg)
		case 1:
			old := workers[i]
			go func() { _ = old.stop() }()
			workers[i] = w.start(cfg)
		case 2:
			if len(workers) < 3 {
				workers = append(workers, w.start(cfg))
			}
		case 3:
			m.lapse()
		case 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14:
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		case 15:
			time.Sleep(time.Duration(rng.IntN(60)) * time.Second)
		default:
			m.publish()
		}
	}
	w.answers.Lock()
	w.mu.Lock()
	m.trouble, m.graves, m.odd, m.stuck = 0, nil, false, false
	w.mu.Unlock()
	w.answers.Unlock()
	w.drained(24 * time.Hour)
	for _, r := range workers {
		if err := r.stop(); err != nil {
			t.Errorf("in the end a worker stopped with %v", err)
		}
	}
	time.Sleep(time.Minute) // for those that were stopped on the way
	synctest.Wait()
	w.accounted()
}

// publish adds a job of some shape.
func (m *model) publish() {
	rng := m.rng
	n := 1 + rng.IntN(3)
	if rng.IntN(4) == 0 {
		n = 1 + rng.IntN(60)
	}
	// Few names, so that the same person often stands in several jobs.
	var ids []string
	kinds := []string{"a", "a", "a", "a", "a", "a", "a", "a", "r", "bad"}
	for _, i := range rng.Perm(100)[:n] {
		ids = append(ids, fmt.Sprint(kinds[i%len(kinds)], "-", i))
	}
	job := text(fmt.Sprint("p", rng.IntN(4)), fmt.Sprint("text", rng.IntN(3)), ids...)
	if rng.IntN(8) == 0 {
		job.DeliverAt = time.Now().Add(time.Duration(rng.IntN(120)-20) * time.Second)
	}
	if rng.IntN(8) == 0 {
		job.ExpiresAt = time.Now().Add(time.Duration(rng.IntN(120)-20) * time.Second)
	}
	options := []func(*stored){priority(queue.Priorities()[rng.IntN(3)])}
	if rng.IntN(20) == 0 {
		options = append(options, publishedAt(time.Now().Add(-time.Duration(rng.IntN(600))*time.Second)))
	}
	if rng.IntN(40) == 0 {
		options = append(options, func(s *stored) { s.lease.Invalid, s.lease.Raw = queue.ErrInvalid, []byte("x") })
	}
	m.w.publish(job, options...)
}

// lapse takes away a lease from whoever holds it: the job goes to somebody else.
func (m *model) lapse() {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for l, h := range m.w.leases {
		if h.ended == "" && !h.durable && !h.session.dead {
			m.w.lapse(l)
			m.w.giveUp(l, h)
			return
		}
	}
}
