package worker

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// check holds the schedule against what it says of itself: which batches are open and what is in
// them, and how many jobs gather, wait, and are under way for whom.
func (b *stream) check(t *testing.T, after string) {
	t.Helper()
	var gathering, held amount
	active, open := 0, 0
	maps := map[uintptr]bool{}
	for _, m := range b.schedule.open.sets {
		maps[reflect.ValueOf(m).Pointer()] = true
		if len(m) > 0 {
			t.Fatalf("after %s a spare map holds %v", after, m)
		}
	}
	if len(maps) != len(b.schedule.open.sets) {
		t.Fatalf("after %s there are %d spares, and only %d maps", after, len(b.schedule.open.sets), len(maps))
	}
	for id, p := range b.schedule.projects {
		var waiting amount
		if p.inFlight > 0 {
			active++
		}
		for _, f := range p.flows {
			if f == nil {
				continue
			}
			for i, x := range f.queue.all() {
				waiting = waiting.plus(x.amount)
				taking, _, _ := b.schedule.open.find(x.key)
				if n := len(f.queue.sealed); x.sealed != (i < n || i >= n+len(f.queue.filling)) || x.sealed == (taking == x) {
					t.Fatalf("after %s a batch at %d of %d sealed ones: sealed %v, open to jobs %v", after, i, n, x.sealed, taking == x)
				}
				if !x.sealed {
					open++
				}
				if !x.sealed && !x.mustFlush {
					gathering = gathering.plus(x.amount)
				}
				if x.taken == nil {
					continue
				}
				if at := reflect.ValueOf(x.taken).Pointer(); maps[at] {
					t.Fatalf("after %s two share a map", after)
				} else {
					maps[at] = true
				}
				for _, r := range x.parts[0].recipients {
					if _, ok := x.taken[r.id]; !ok || len(x.taken) != x.size {
						t.Fatalf("after %s a batch of %d recipients knows %v", after, x.size, x.taken)
					}
				}
			}
		}
		if held = held.plus(waiting); p.waiting != waiting {
			t.Fatalf("after %s %v of %s waits, want %v", after, p.waiting, id, waiting)
		}
	}
	if b.schedule.backlog.gathering != gathering || b.schedule.waiting != held || b.schedule.open.n != open || b.schedule.permits.active != active {
		t.Fatalf("after %s %v gather, %v wait, %d batches are open, %d projects call; want %v, %v, %d, %d",
			after, b.schedule.backlog.gathering, b.schedule.waiting, b.schedule.open.n, b.schedule.permits.active, gathering, held, open, active)
	}
}

// taken are the tasks that the completer got.
func (b *stream) taken() (tasks []*task) {
	for _, x := range b.completer.all {
		tasks = append(tasks, x.waiting...)
		x.waiting = nil
	}
	return tasks
}

// Whatever happens to a schedule, it knows how many jobs gather, and all come out in the end.
func TestScheduleIsConsistent(t *testing.T) {
	for seed := range uint64(150) {
		runConsistent(t, seed)
	}
}

func runConsistent(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	people, limit := 12, 6
	if seed%2 == 0 {
		people, limit = 100, 40
	}
	b := newStream(Config{Window: 40, MaxRecipients: limit, Concurrency: 16, RetryFor: time.Hour})
	added, ended := 0, map[*task]bool{}
	end := func(tasks []*task) {
		for _, x := range tasks {
			if ended[x] {
				t.Fatalf("seed %d: a task of %q came out twice", seed, x.lease.Job.Message)
			}
			ended[x] = true
		}
	}
	var calls []*batch
	back := func(err error) { // one of the calls, with how it ended
		if len(calls) == 0 {
			return
		}
		i := rng.IntN(len(calls))
		x := calls[i]
		calls = slices.Delete(calls, i, i+1)
		res := x.record(b.now, b.cfg, okReport, err)
		b.callEnded(b.now, b.now.Add(-time.Millisecond), x, res)
	}
	for range 300 {
		var did string
		p := b.schedule.projects[fmt.Sprint("p", rng.IntN(4))] // one of those there are, if any
		waits := p != nil && p.waiting.jobs > 0
		switch what := rng.IntN(16); {
		case what < 3:
			did = "next"
			if x := b.nextCall(b.now); x != nil {
				calls = append(calls, x)
			}
		case what < 5:
			did = "done"
			kinds := []chatapi.Kind{chatapi.Refused, chatapi.Temporary, chatapi.Limited, chatapi.Credential}
			if i := rng.IntN(12); i < len(kinds) {
				back(&chatapi.Error{Kind: kinds[i]})
			} else {
				back(nil)
			}
		case what == 5 && waits:
			did = "deferExcess"
			p.windowShare = p.waiting.times(rng.Float64())
			end(b.schedule.deferExcess(b.now, p, float64(10*rng.IntN(2))))
		case what == 6 && waits && p.gate.err != nil:
			did = "deferBlocked"
			end(b.schedule.deferBlocked(b.now, p))
		case what == 7 && rng.IntN(30) == 0:
			did = "drain"
			end(b.schedule.drain())
		default:
			did = "add"
			job := text(fmt.Sprint("p", rng.IntN(4)), fmt.Sprint("text", rng.IntN(3)))
			for _, w := range rng.Perm(people)[:1+rng.IntN(limit/2)] {
				job.WovenIDs = append(job.WovenIDs, fmt.Sprint("w-", w))
			}
			if rng.IntN(20) == 0 {
				job.ExpiresAt = b.now.Add(50 * time.Millisecond)
			}
			added++
			b.lease(queue.Priorities()[rng.IntN(3)], job, uint64(rng.IntN(5)))
		}
		end(b.taken())
		b.check(t, fmt.Sprintf("seed %d, %s,", seed, did))
		b.pass(rng.IntN(4))
	}
	for len(calls) > 0 {
		back(nil)
	}
	end(b.taken())
	end(b.schedule.drain())
	b.check(t, "the end")
	if len(ended) != added || b.schedule.backlog.gathering != (amount{}) || b.schedule.waiting != (amount{}) {
		t.Fatalf("seed %d: %d of %d jobs came out, %v gather, %v wait", seed, len(ended), added, b.schedule.backlog.gathering, b.schedule.waiting)
	}
}
