package daemon

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/chatrelay/chatrelay/chatapi"
	"github.com/chatrelay/chatrelay/worker"
)

// metrics counts what the worker reports. No label holds a project, a message or a recipient: the
// number of projects is not bounded.
type metrics struct {
	registry   *prometheus.Registry
	calls      *prometheus.CounterVec
	callTime   prometheus.Histogram
	callSize   prometheus.Histogram
	delivered  prometheus.Counter
	dead       *prometheus.CounterVec
	jobs       *prometheus.CounterVec
	ambiguous  prometheus.Counter
	unknown    prometheus.Counter
	partly     prometheus.Counter
	trouble    prometheus.Counter
	unburied   prometheus.Counter
	gateCloses *prometheus.CounterVec
	heard      *prometheus.CounterVec
	allowed    prometheus.Gauge
}

func newMetrics(held, gates func() float64, connected func() bool) *metrics {
	name := func(s string) string { return "chatrelay_" + s }
	counter := func(n, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name(n), Help: help})
	}
	vec := func(n, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name(n), Help: help}, []string{label})
	}
	m := &metrics{
		registry:   prometheus.NewRegistry(),
		calls:      vec("calls_total", "Calls to the Chat API by HTTP status, or by kind of failure where there was none.", "status"),
		callTime:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: name("call_duration_seconds"), Help: "Duration of calls to the Chat API.", Buckets: prometheus.ExponentialBuckets(.005, 2, 12)}),
		callSize:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: name("call_recipients"), Help: "Recipients per call.", Buckets: prometheus.ExponentialBuckets(1, 2, 11)}),
		delivered:  counter("recipients_delivered_total", "Recipients that a call delivered to."),
		dead:       vec("recipients_dead_total", "Recipients dead-lettered, by reason; invalid payloads count one each.", "reason"),
		jobs:       vec("jobs_total", "Jobs by how their lease ended: settled, deferred, postponed with their letters, split, released.", "end"),
		ambiguous:  counter("calls_ambiguous_total", "Failed calls that may have been delivered all the same."),
		unknown:    counter("recipients_unknown_total", "Ids that the API named as failed although the call had not asked for them."),
		partly:     counter("calls_partly_understood_total", "Calls whose reply named ids that were not asked for, or is in doubt otherwise."),
		trouble:    counter("settle_failures_total", "Failed attempts to settle, defer or split; they are repeated."),
		unburied:   counter("letters_unwritten_total", "Attempts to write a dead letter that failed; they are repeated."),
		allowed:    prometheus.NewGauge(prometheus.GaugeOpts{Name: name("calls_allowed"), Help: "Calls that may be in flight at once, after the last event of a gate."}),
		heard:      vec("foreign_gates_total", "Messages that announce gates: heard of other workers, of these applied, and those refused as they announce none.", "what"),
		gateCloses: vec("gate_closed_total", "How often a project's gate closed, by kind of failure.", "kind"),
	}
	m.registry.MustRegister(m.calls, m.callTime, m.callSize, m.delivered, m.dead, m.jobs, m.ambiguous, m.unknown, m.partly, m.trouble, m.unburied, m.gateCloses, m.heard, m.allowed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name("jobs_held"), Help: "Jobs leased by this worker now."}, held),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name("gates_closed"), Help: "Projects whose gate is closed, or was not seen to work since."}, gates),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name("nats_connected"), Help: "1 while connected to NATS."}, func() float64 {
			if connected() {
				return 1
			}
			return 0
		}),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// countLost counts the lines of the log that could not be written.
func (m *metrics) countLost(lost func() int64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "chatrelay_log_lines_lost_total", Help: "Lines of the log that could not be written."},
		func() float64 { return float64(lost()) }))
}

// showUnwritten shows of how many projects dead letters cannot be written.
func (m *metrics) showUnwritten(projects func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "chatrelay_letters_unwritten_projects", Help: "Projects whose dead letters cannot be written now."}, projects))
}

func (m *metrics) event(e worker.Event) {
	switch e.Kind {
	case worker.EventCall:
		status := strconv.Itoa(e.Status)
		if e.Status == 0 {
			status = string(chatapi.KindOf(e.Err))
		}
		m.calls.WithLabelValues(status).Inc()
		m.callTime.Observe(e.Duration.Seconds())
		m.callSize.Observe(float64(e.Recipients))
		m.delivered.Add(float64(e.Delivered))
		m.unknown.Add(float64(e.Unknown))
		if partly(e) {
			m.partly.Inc()
		}
		if e.Ambiguous {
			m.ambiguous.Inc()
		}
	case worker.EventTrouble:
		m.trouble.Inc()
	case worker.EventUnburied:
		m.unburied.Add(float64(len(e.Letters)))
	case worker.EventGate:
		m.allowed.Set(float64(e.Allowed))
		if e.From != "" {
			m.heard.WithLabelValues("applied").Inc()
		}
		if e.Err != nil && !e.Narrow {
			m.gateCloses.WithLabelValues(string(chatapi.KindOf(e.Err))).Inc()
		}
	case worker.EventCallSize:
	default:
		m.jobs.WithLabelValues(string(e.Kind)).Add(float64(e.Jobs))
		for _, l := range e.Letters {
			m.dead.WithLabelValues(string(l.Reason)).Add(float64(max(1, len(l.WovenIDs))))
		}
	}
}

// gauge adds a metric whose value is asked for.
func (m *metrics) gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "chatrelay_" + name, Help: help}, value))
}
