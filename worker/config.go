package worker

import (
	"context"
	"time"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/queue"
)

// Source gives the leases that arrived since it was last asked, at least one; it waits for the
// first, and returns an error only when ctx has ended or there can be no more. [queue.Jobs] is one.
type Source interface {
	Next(ctx context.Context) ([]*queue.Lease, error)
}

// Sender makes one attempt at one call. Errors that matter are of type [chatapi.Error]; any other
// is taken for a temporary failure before delivery. [chatapi.Client] is one.
type Sender interface {
	Send(ctx context.Context, n chatapi.Notification) (chatapi.Report, error)
}

// Graveyard keeps dead letters. They are durable but for those at the indexes that Bury returns with an
// error; burying a letter again replaces it. [queue.Queue] is one.
type Graveyard interface {
	Bury(ctx context.Context, letters []queue.DeadLetter) (failed []int, err error)
}

// Config bounds and paces a worker. The zero value is usable.
type Config struct {
	// MaxRecipients of one call. Zero: 500. The Chat API names no limit.
	MaxRecipients int
	// Linger is how long the first job of a batch waits for company. Zero: 20 ms. Negative: not
	// at all.
	Linger time.Duration
	// Concurrency is how many calls may be in flight at most; while the API shows that it has too
	// much to do (429, 503, timeouts) it is fewer. Zero: 64.
	Concurrency int
	// Window is how many jobs of one stream the source holds at most. While a quarter of it waits
	// for calls, jobs of a project that would wait long for their turn are deferred. Zero: 20,000.
	Window int
	// WindowBytes is the memory that the jobs of all streams take at most which the source holds, in bytes; those of
	// one of the four streams take a quarter, which counts as Window does. Zero: 256 MiB.
	WindowBytes int
	// RetryFor is how long after its publication, or its deliver_at, a job is tried. Zero: 24 h.
	RetryFor time.Duration
	// MaxAmbiguous is how often a recipient is called for, on account of one job, by calls that fail
	// and may have been delivered all the same; then it is dead-lettered as ambiguous. It bounds how
	// often somebody gets the same message. Zero: 5.
	MaxAmbiguous int
	// CallsPerSecond and RecipientsPerSecond bound all calls together. Zero: no bound.
	CallsPerSecond, RecipientsPerSecond float64
	// ProjectCallsPerSecond and ProjectRecipientsPerSecond bound those of each project. Zero: no
	// bound.
	ProjectCallsPerSecond, ProjectRecipientsPerSecond float64
	// MaxRetryAfter bounds the wait that the API may ask for. Zero: 1 h.
	MaxRetryAfter time.Duration
	// Grace is how long a stopping worker waits for calls in flight. Zero: 30 s.
	Grace time.Duration
	// Now is the clock by which jobs are due and expire, such as that of NATS ([queue.Queue.Now]), which all
	// workers share. Nil: time.Now.
	Now func() time.Time
	// Credential says which client credential a project calls with: equal values are one credential. While
	// it is not accepted, one call at a time of all its projects tries it. It is called often and must be
	// quick; see [Worker.CredentialsChanged]. The values can be compared by ==. Nil, or nil for a project:
	// it shares its credential with none.
	Credential func(projectID string) any
	// Hook, when set, learns what happens; see [Event]. It is called from several goroutines and
	// must not block.
	Hook func(Event)
}

func (c Config) withDefaults() Config {
	if c.MaxRecipients <= 0 {
		c.MaxRecipients = 500
	}
	if c.Linger == 0 {
		c.Linger = 20 * time.Millisecond
	}
	c.Linger = max(0, c.Linger)
	if c.Concurrency <= 0 {
		c.Concurrency = 64
	}
	if c.Window <= 0 {
		c.Window = 20_000
	}
	if c.WindowBytes <= 0 {
		c.WindowBytes = 256 << 20
	}
	if c.RetryFor <= 0 {
		c.RetryFor = 24 * time.Hour
	}
	if c.MaxAmbiguous <= 0 {
		c.MaxAmbiguous = 5
	}
	if c.MaxRetryAfter <= 0 {
		c.MaxRetryAfter = time.Hour
	}
	if c.Grace <= 0 {
		c.Grace = 30 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Hook == nil {
		c.Hook = func(Event) {}
	}
	return c
}
