package worker

// amount is so many jobs, and what they take in memory, in bytes: either may fill a window.
type amount struct{ jobs, bytes int }

func (a amount) plus(b amount) amount  { return amount{a.jobs + b.jobs, a.bytes + b.bytes} }
func (a amount) minus(b amount) amount { return amount{a.jobs - b.jobs, a.bytes - b.bytes} }

// times is a part of it, or more than all of it.
func (a amount) times(part float64) amount {
	return amount{int(float64(a.jobs) * part), int(float64(a.bytes) * part)}
}

// atMost and atLeast bound the jobs by the jobs of b, and the bytes by its bytes.
func (a amount) atMost(b amount) amount  { return amount{min(a.jobs, b.jobs), min(a.bytes, b.bytes)} }
func (a amount) atLeast(b amount) amount { return amount{max(a.jobs, b.jobs), max(a.bytes, b.bytes)} }

// exceeds reports whether it is more than b in jobs, or in bytes.
func (a amount) exceeds(b amount) bool { return a.jobs > b.jobs || a.bytes > b.bytes }

// fills is what part of b it fills.
func (a amount) fills(b amount) float64 {
	return max(float64(a.jobs)/float64(b.jobs), float64(a.bytes)/float64(b.bytes))
}

// window is what a source holds of one stream at most.
func (c Config) window() amount { return amount{c.Window, c.WindowBytes / 4} }
