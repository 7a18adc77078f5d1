package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatrelay/chatrelay/chatapi/chatapitest"
)

// tally counts, at the Chat API, the deliveries to every recipient of a workload.
type tally struct {
	w         Workload
	delivered []atomic.Uint32
	wrong     atomic.Int64
	spent     atomic.Int64 // nanoseconds, from the arrivals of calls to their replies
	mu        sync.Mutex
	latest    []int64 // when each recipient was delivered to, unix nanoseconds, if the workload is timed
}

// tallied is what the tally amounts to.
type tallied struct {
	Calls     int `json:"calls"`
	Delivered int `json:"delivered"` // recipients, once or more often
	Twice     int `json:"twice"`     // or more often
	Wrong     int `json:"wrong"`     // ids that are nobody's, or got another's message
	MaxFlight int `json:"max_in_flight"`
	// Latency is how long calls took from their arrival to their reply, on average, in milliseconds.
	Latency float64 `json:"latency_ms"`
}

func newTally(w Workload) *tally {
	t := &tally{w: w, delivered: make([]atomic.Uint32, w.Jobs*w.Recipients)}
	if w.Timed {
		t.latest = make([]int64, len(t.delivered))
	}
	return t
}

// call takes down one call.
func (t *tally) call(c chatapitest.Call) {
	t.spent.Add(int64(time.Since(c.Time)))
	if !c.Delivered {
		return
	}
	project, ok := number(c.ProjectID, projectPrefix)
	message, known := number(c.Message, messagePrefix)
	for _, id := range c.Recipients {
		n, named := number(id, recipientPrefix)
		if !ok || !known || !named || n >= len(t.delivered) {
			t.wrong.Add(1)
			continue
		}
		if p, m := t.w.kind(n / t.w.Recipients); p != project || m != message {
			t.wrong.Add(1)
		}
		t.delivered[n].Add(1)
		if t.latest != nil {
			t.mu.Lock()
			t.latest[n] = c.Time.UnixNano()
			t.mu.Unlock()
		}
	}
}

// number is what a name ends in.
func number(name, prefix string) (int, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

func (t *tally) sum(api *chatapitest.Server) tallied {
	c := api.Counts()
	s := tallied{Calls: c.Calls, Wrong: int(t.wrong.Load()), MaxFlight: c.MaxInFlight,
		Latency: float64(t.spent.Load()) / float64(max(1, c.Calls)) / 1e6}
	for i := range t.delivered {
		switch n := t.delivered[i].Load(); {
		case n > 1:
			s.Twice++
			fallthrough
		case n == 1:
			s.Delivered++
		}
	}
	return s
}

// records serves the tally, and the times.
func (t *tally) records(api *chatapitest.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tally", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(t.sum(api)) })
	mux.HandleFunc("GET /times", func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		_ = json.NewEncoder(w).Encode(t.latest)
	})
	return mux
}

// ask gets one of the records.
func ask(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	return answer(req, into)
}

// getToken gets the token by which the bare loop calls.
func getToken(ctx context.Context, address string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {chatapitest.DefaultClientID}, "client_secret": {chatapitest.DefaultClientSecret}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var token struct {
		AccessToken string `json:"access_token"`
	}
	err = answer(req, &token)
	return token.AccessToken, err
}

func answer(req *http.Request, into any) error {
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
