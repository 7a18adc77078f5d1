package worker

// setPool keeps empty maps that were grown before, for the batches to come.
type setPool []map[string]struct{}

func (s *setPool) get() map[string]struct{} {
	if n := len(*s); n > 0 {
		m := (*s)[n-1]
		*s = (*s)[:n-1]
		return m
	}
	return map[string]struct{}{}
}

func (s *setPool) put(m map[string]struct{}) {
	const most = 64
	if m != nil && len(*s) < most {
		clear(m)
		*s = append(*s, m)
	}
}
