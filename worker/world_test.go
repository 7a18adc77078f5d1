package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// redelivery is how long after a worker's crash its leases come back.
const redelivery = 30 * time.Second

// world is what surrounds workers: the queue, the API and the graveyard, all in memory. It checks
// the rules at every call and at the end of every lease.
type world struct {
	t  testing.TB
	mu sync.Mutex

	// What the outside does; set before the first worker starts. Never two of the functions are
	// called at once. Those for acks, deferrals and splits are called with mu held.
	latency  time.Duration
	hangs    func(project string) bool // such calls take ten seconds
	burial   time.Duration             // how long it takes
	answer   func(call) (chatapi.Report, error)
	buryErr  func(letters []queue.DeadLetter) (written int, err error)
	refuses  func(queue.DeadLetter) bool    // it alone cannot be stored
	acking   func() time.Duration           // how long an ack waits before anything else
	ackErr   func() error                   // before the ack takes effect
	ackOf    func(*queue.Lease) error       // the same, for one lease
	ackLost  func() error                   // after it took effect
	deferErr func() (applied bool, e error) // before or after it took effect
	writing  func(jobs int) time.Duration   // how long a deferral takes before anything else
	splitErr func() (applied bool, e error) // before or after it took effect
	fetch    int                            // leases a worker gets at once at most; 0: all
	tells    bool                           // leases say how many are behind them
	behind   int                            // the one that is being handed out
	window   amount                         // what all workers hold of a stream at most; zero: any number

	seq      uint64
	standing map[*stored]bool // jobs that the queue keeps
	ready    []*stored
	news     chan struct{} // closed when ready grew
	leases   map[*queue.Lease]*holding
	holding  map[string]amount // by stream: leases that have not ended

	roots   []*root
	calls   []call
	acks    []ended
	defers  []deferral
	splits  int
	parts   map[string]bool // ids of what was split off
	freed   []ended         // releases
	buries  [][]queue.DeadLetter
	letters map[grave]queue.DeadLetter
	told    map[person]int       // accepted calls that named them
	used    map[person]int       // of these, how many jobs were settled on account of
	excused map[person]bool      // why they were told more often is known
	lapsed  map[person]time.Time // when a lease on a job for them last did
	events  []Event
	answers sync.Mutex
}

// person is a recipient of one text of one project: all that a call says of a notification.
type person struct{ project, message, id string }

// grave is what makes a letter replace another.
type grave struct {
	project string
	reason  queue.Reason
	where   string
}

// root is a job as it was published, and what became of its recipients.
type root struct {
	job     queue.Job
	outcome map[string]string // "told" or the reason, set when a lease ended on account of it
}

// stored is a job where it stands in the queue.
type stored struct {
	root   *root
	lease  queue.Lease // all but the holder
	leases int         // given out so far
	lapsed bool        // its first lease is lapsed from the beginning
}

// holding is a lease from the world's point of view.
type holding struct {
	stored  *stored
	amount  amount
	persons []person // for whom it is; the lease itself belongs to the worker
	session *session
	ended   string
	durable bool // a deferral or split took effect, whatever was answered
}

type call struct {
	n          int // counted from 0
	at, end    time.Time
	project    string
	message    string
	ids        []string
	report     chatapi.Report
	err        error
	session    *session
	priorities map[queue.Priority]bool
}

type ended struct {
	at    time.Time
	lease *queue.Lease
}

type deferral struct {
	at time.Time
	queue.Deferral
}

func newWorld(t testing.TB) *world {
	return &world{
		t: t, latency: 20 * time.Millisecond, news: make(chan struct{}),
		parts: map[string]bool{}, holding: map[string]amount{}, standing: map[*stored]bool{}, leases: map[*queue.Lease]*holding{},
		letters: map[grave]queue.DeadLetter{},
		told:    map[person]int{}, used: map[person]int{}, excused: map[person]bool{}, lapsed: map[person]time.Time{},
	}
}

// inWorld runs a test in a bubble whose time is that of the test alone.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

func (w *world) fault(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("%s: %s", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// publish puts a job into the queue. Options change the lease that it comes as.
func (w *world) publish(job queue.Job, options ...func(*stored)) *stored {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	if job.ID == "" {
		job.ID = fmt.Sprintf("job-%d", w.seq)
	}
	s := &stored{root: &root{job: job, outcome: map[string]string{}}, lease: queue.Lease{
		Job: job, Priority: queue.Normal, Stream: "NOTIFY_NORMAL", Seq: w.seq, History: queue.History{PublishedAt: time.Now()},
	}}
	for _, o := range options {
		o(s)
	}
	w.roots = append(w.roots, s.root)
	w.standing[s] = true
	w.arrive(s)
	return s
}

func priority(p queue.Priority) func(*stored) {
	return func(s *stored) {
		s.lease.Priority = p
		s.lease.Stream = map[queue.Priority]string{queue.Urgent: "NOTIFY_URGENT", queue.Normal: "NOTIFY_NORMAL", queue.Bulk: "NOTIFY_BULK"}[p]
	}
}

func publishedAt(t time.Time) func(*stored) {
	return func(s *stored) { s.lease.PublishedAt = t }
}

// text makes a job: one message of one project to some recipients.
func text(project, message string, ids ...string) queue.Job {
	return queue.Job{ProjectID: project, Message: message, WovenIDs: ids}
}

// people makes n recipients.
func people(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return ids
}

// arrive makes a standing job ready to be leased. The caller holds mu.
func (w *world) arrive(s *stored) {
	if !w.standing[s] {
		return
	}
	w.ready = append(w.ready, s)
	close(w.news)
	w.news = make(chan struct{})
}

// running is a worker in this world.
type running struct {
	*session
	worker *Worker
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once ended is closed
}

// start runs a worker. A test may put something between it and its source.
func (w *world) start(cfg Config, between ...func(*session) Source) *running {
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{w: w, cfg: cfg.withDefaults(), held: map[person]map[*queue.Lease]bool{}}
	hook := cfg.Hook
	cfg.Hook = func(e Event) {
		w.mu.Lock()
		w.events = append(w.events, e)
		w.mu.Unlock()
		if hook != nil {
			hook(e)
		}
	}
	r := &running{session: s, cancel: cancel, ended: make(chan struct{})}
	var source Source = s
	for _, b := range between {
		source = b(s)
	}
	r.worker = New(cfg, source, s, s)
	w.t.Cleanup(func() { // of a test that failed: what still runs in its bubble would hide why
		cancel()
		<-r.ended
	})
	go func() {
		defer close(r.ended)
		r.err = r.worker.Run(ctx)
	}()
	return r
}

// stop ends a worker as SIGTERM does and returns what Run returned.
func (r *running) stop() error {
	r.w.mu.Lock()
	r.stopped = time.Now()
	r.w.mu.Unlock()
	r.cancel()
	<-r.ended
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for l, h := range r.w.leases {
		if h.session == r.session && h.ended == "" && !h.session.dead {
			if r.err == nil {
				r.w.fault("the worker stopped without an error and left the lease on %s", l.Origin())
			}
			// It comes back as after a crash.
			r.w.giveUp(l, h)
		}
	}
	return r.err
}

// crash ends a worker as kill -9 does.
func (r *running) crash() {
	r.w.mu.Lock()
	r.dead = true
	for l, h := range r.w.leases {
		if h.session == r.session && h.ended == "" {
			r.w.giveUp(l, h)
		}
	}
	r.w.mu.Unlock()
	r.cancel()
}

// end ends a lease, which makes room in the window. The caller holds mu.
func (w *world) end(h *holding, how string) {
	h.ended = how
	w.holding[h.stored.lease.Stream] = w.holding[h.stored.lease.Stream].minus(h.amount)
	if w.window != (amount{}) {
		close(w.news)
		w.news = make(chan struct{})
	}
}

// giveUp brings a job back whose lease was not ended. The caller holds mu.
func (w *world) giveUp(l *queue.Lease, h *holding) {
	w.end(h, "lost")
	h.session.forget(l)
	for _, p := range h.persons {
		w.excused[p] = true
	}
	time.AfterFunc(redelivery, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.arrive(h.stored)
	})
}

// drained waits until the queue is empty, at most for some time.
func (w *world) drained(within time.Duration) {
	w.t.Helper()
	end := time.Now().Add(within)
	for {
		w.mu.Lock()
		n := len(w.standing)
		w.mu.Unlock()
		if n == 0 {
			return
		}
		if !time.Now().Before(end) {
			w.t.Fatalf("%d jobs are still there after %v", n, within)
		}
		time.Sleep(within / 1000)
	}
}

// accounted checks that each recipient of each job has an outcome, and that nobody was told more
// than once without a reason.
func (w *world) accounted() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.roots {
		if r.outcome["*"] != "" {
			continue // invalid: the raw payload is in a letter
		}
		for _, id := range r.job.WovenIDs {
			if r.outcome[id] == "" {
				w.fault("job %s: nothing is known of %s", r.job.ID, id)
			}
		}
	}
	for p, n := range w.told {
		if n > w.used[p] && !w.excused[p] {
			w.fault("%v was told %d times on account of %d jobs", p, n, w.used[p])
		}
	}
}

// finish waits for the queue to be empty, stops the worker and checks the accounts.
func (w *world) finish(r *running, within time.Duration) {
	w.t.Helper()
	w.drained(within)
	if err := r.stop(); err != nil {
		w.fault("the worker stopped with %v", err)
	}
	w.accounted()
}

// sent returns the calls so far.
func (w *world) sent() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// letter returns the one letter with a reason, and fails when there are more or none.
func (w *world) letter(reason queue.Reason) queue.DeadLetter {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []queue.DeadLetter
	for _, l := range w.letters {
		if l.Reason == reason {
			found = append(found, l)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("%d letters say %s, want 1; all: %+v", len(found), reason, w.letters)
	}
	return found[0]
}

// buried counts the recipients in letters with a reason.
func (w *world) buried(reason queue.Reason) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, l := range w.letters {
		if l.Reason == reason {
			n += len(l.WovenIDs)
		}
	}
	return n
}

// timesTold is how many accepted calls named a recipient.
func (w *world) timesTold(project, message, id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told[person{project, message, id}]
}

var errDown = errors.New("the graveyard is down")

// at returns how long after a beginning something happened.
func at(begin, t time.Time) time.Duration { return t.Sub(begin) }
