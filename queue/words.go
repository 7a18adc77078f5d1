package queue

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxGates is how many gates an answer holds, so that it stays below 1 MiB, the largest message that
	// a server takes by default. Who looks at more of them looks at one cause.
	maxGates = 500

	maxWords      = 400 // bytes of a text that another process wrote
	maxConditions = 20
	maxProjects   = 10 // of a condition
	maxInfo       = 20
	// maxWait is for how long a gate may be closed by what another process says.
	maxWait = time.Hour
)

// bounded is g with texts that are not too long, and can be sent.
func (g GateStatus) bounded() GateStatus {
	for _, text := range []*string{&g.ProjectID, &g.Kind, &g.Detail, &g.Advice, &g.From} {
		*text = clip(*text)
	}
	return g
}

// bounded is w with texts that are not too long, and lists that are not either.
func (w WorkerStatus) bounded() WorkerStatus {
	more := max(0, len(w.Gates)-maxGates)
	w.Gates, w.GatesLeftOut = slices.Clone(w.Gates[:len(w.Gates)-more]), w.GatesLeftOut+more
	for i := range w.Gates {
		w.Gates[i] = w.Gates[i].bounded()
	}
	w.CallSizes = slices.Clone(w.CallSizes[:min(len(w.CallSizes), maxGates)])
	for i := range w.CallSizes {
		w.CallSizes[i].ProjectID = clip(w.CallSizes[i].ProjectID)
	}
	w.Conditions = slices.Clone(w.Conditions[:min(len(w.Conditions), maxConditions)])
	for i := range w.Conditions {
		c := &w.Conditions[i]
		c.What, c.Detail, c.Projects = clip(c.What), clip(c.Detail), slices.Clone(c.Projects[:min(len(c.Projects), maxProjects)])
		for j := range c.Projects {
			c.Projects[j] = clip(c.Projects[j])
		}
	}
	w.ID = clip(w.ID)
	info := make(map[string]string, min(len(w.Info), maxInfo))
	for _, k := range slices.Sorted(maps.Keys(w.Info))[:min(len(w.Info), maxInfo)] {
		info[clip(k)] = clip(w.Info[k])
	}
	w.Info = info
	return w
}

// clip cuts text at maxWords, between characters.
func clip(text string) string {
	if len(text) > maxWords {
		text = text[:maxWords]
	}
	return strings.ToValidUTF8(text, "")
}

// Between processes go durations, as their clocks may differ; each computes times by its own. What
// follows are the forms in which they travel: they hide the times.

// gateMessage is a GateStatus on its way.
type gateMessage struct {
	GateStatus
	Until  jsontext.Value `json:"until,omitzero"` // not sent, and not believed
	WaitMS float64        `json:"wait_ms"`        // instead of it, at most maxWait
}

func gateMessageOf(g GateStatus, now time.Time) gateMessage {
	return gateMessage{GateStatus: g.bounded(), WaitMS: milliseconds(g.Until.Sub(now))}
}

// received is the gate by the clock of the process that got the message.
func (m gateMessage) received(now time.Time) GateStatus {
	g := m.GateStatus.bounded()
	g.Until = now.Add(min(maxWait, duration(m.WaitMS)))
	return g
}

// conditionMessage is a Condition on its way.
type conditionMessage struct {
	Condition
	Since  jsontext.Value `json:"since,omitzero"` // not sent, and not believed
	LastMS float64        `json:"lasts_ms"`       // instead of it
}

// workerMessage is a WorkerStatus on its way.
type workerMessage struct {
	WorkerStatus
	Gates      []gateMessage      `json:"gates,omitempty"`
	Conditions []conditionMessage `json:"conditions,omitempty"`
}

func encodeWorker(w WorkerStatus, now time.Time) ([]byte, error) {
	m := workerMessage{WorkerStatus: w.bounded()}
	for _, g := range m.WorkerStatus.Gates {
		m.Gates = append(m.Gates, gateMessageOf(g, now))
	}
	for _, c := range m.WorkerStatus.Conditions {
		m.Conditions = append(m.Conditions, conditionMessage{Condition: c, LastMS: milliseconds(now.Sub(c.Since))})
	}
	return json.Marshal(m)
}

// decodeWorker reads what encodeWorker wrote, or anybody, and reports whether it is a worker's answer.
func decodeWorker(data []byte, now time.Time) (WorkerStatus, bool) {
	var m workerMessage
	if json.Unmarshal(data, &m) != nil || m.ID == "" {
		return WorkerStatus{}, false
	}
	w := m.WorkerStatus
	w.Gates, w.Conditions = nil, nil
	for _, g := range m.Gates {
		w.Gates = append(w.Gates, g.received(now))
	}
	for _, c := range m.Conditions {
		c.Condition.Since = now.Add(-duration(c.LastMS))
		w.Conditions = append(w.Conditions, c.Condition)
	}
	return w.bounded(), true
}

// milliseconds is a duration as it travels, not below 0.
func milliseconds(d time.Duration) float64 { return float64(max(0, d)) / float64(time.Millisecond) }

// duration reads a number of milliseconds that anybody may have written: from 0 to a hundred years.
func duration(ms float64) time.Duration {
	const most = 100 * 365 * 24 * time.Hour
	return time.Duration(math.Max(0, math.Min(float64(most), ms*float64(time.Millisecond))))
}
