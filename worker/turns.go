package worker

import "time"

// A level with something to do is passed over this often at most before it gets a turn in spite
// of more pressing ones: a normal call is at least every 9th, a bulk call at least every 17th.
var maxSkips = [...]int{0, 8, 16}

// turns is the order in which levels are asked for a call: the most pressing first, unless another
// has been passed over for too long, and none whose stream confirms no acks.
func (s *schedule) turns(now time.Time) []int {
	order := make([]int, 0, len(s.rings))
	for level := range s.rings {
		switch {
		case len(s.rings[level]) == 0, !s.permits.acks(now, level).granted():
		case s.skips[level] >= maxSkips[level]:
			order = append([]int{level}, order...)
		default:
			order = append(order, level)
		}
	}
	return order
}

func (s *schedule) countSkips(granted int) {
	s.skips[granted] = 0
	for level := granted + 1; level < len(s.rings); level++ {
		if len(s.rings[level]) > 0 {
			s.skips[level]++
		}
	}
}

// grant takes the next batch of a level by deficit round robin: each flow in its turn may call for
// an eighth of a full call's recipients, and saves that up while its next call is larger. Without a
// batch no flow in the ring may call after all. It returns as well the tasks that ended meanwhile.
func (s *schedule) grant(now time.Time, level int) (granted *batch, ended []*task) {
	quantum := max(1, s.cfg.MaxRecipients/8)
	ring := &s.rings[level]
	for refused := 0; len(*ring) > refused; {
		f := (*ring)[0]
		b, at := s.due(now, f)
		why := s.permits.of(now, f.project)
		switch {
		case b == nil, at.After(now), !why.mayWait():
			(*ring)[0] = nil
			*ring = (*ring)[1:]
			f.state, f.deficit = idle, 0
			s.requeue(now, f)
			continue
		case !why.granted(), !s.permits.acks(now, b.stream()).granted():
			*ring = append((*ring)[1:], f)
			refused++
			continue
		}
		refused = 0
		if f.deficit < b.cost() {
			f.deficit += quantum
			*ring = append((*ring)[1:], f)
			continue
		}
		f.queue.take(b)
		s.letGo(b)
		s.seal(b)
		size := &f.project.size
		out, callable := b.prepare(now, size.limit(now, s.cfg.MaxRecipients), size.refused)
		ended = append(ended, out...)
		if !callable {
			if len(b.parts) > 0 {
				ended = append(ended, s.takeBack(now, b)...)
			}
			s.forget(now, b.key.project)
			continue
		}
		f.deficit -= b.cost()
		size.begin(b.cost())
		b.permit = s.permits.begin(now, f.project, b.cost())
		b.judge(now, f.project)
		return b, ended
	}
	return nil, ended
}
