package bench

// Record is one line of JSON.
type Record struct {
	Machine *Machine `json:"machine,omitempty"`
	Run     *Run     `json:"run,omitempty"`
	Summary *Summary `json:"summary,omitempty"`
}

// Machine says where and with what was measured.
type Machine struct {
	Time    string   `json:"time"`
	CPU     string   `json:"cpu"`
	Cores   int      `json:"cores"`
	System  string   `json:"system"`
	Go      string   `json:"go"`
	NATS    string   `json:"nats_server"`
	Version string   `json:"chatrelay"`
	Command []string `json:"command"`
}

// Run is what one run of one program came to.
type Run struct {
	Workload   string `json:"workload"`
	Program    string `json:"program"`
	Pair       int    `json:"pair"`
	Replicas   int    `json:"replicas"`
	Jobs       int    `json:"jobs"`
	Recipients int    `json:"recipients"`
	Projects   int    `json:"projects"`
	// How it was set up: calls in flight of each replica, the wait for company, what the API takes
	// for an answer, and the jobs a second that were published meanwhile, 0 where all were before.
	Concurrency int     `json:"concurrency"`
	LingerMS    float64 `json:"linger_ms"`
	LatencyMS   float64 `json:"latency_ms"`
	PublishRate float64 `json:"published_per_second"`
	Start       float64 `json:"start_seconds"` // until it was given its first job
	Seconds     float64 `json:"seconds"`       // from then to the empty stream
	JobsRate    float64 `json:"jobs_per_second"`
	Calls       int     `json:"calls"`
	IdealCalls  int     `json:"ideal_calls"`
	MaxFlight   int     `json:"max_calls_in_flight"`
	APILatency  float64 `json:"api_latency_ms"` // measured, from a call's arrival to its reply, on average
	// CPU seconds from the start of the program to the empty stream; zero where they cannot be
	// had.
	WorkerCPU float64 `json:"worker_cpu_seconds"`
	BrokerCPU float64 `json:"broker_cpu_seconds"`
	APICPU    float64 `json:"api_cpu_seconds"`
	// PeakMemory is the largest resident set of a replica, in bytes.
	PeakMemory uint64   `json:"peak_memory_bytes"`
	Way        *Latency `json:"puback_to_api_ms,omitempty"`
	// Memory is the resident set of all replicas, in bytes, every ten seconds.
	Memory []uint64 `json:"memory_bytes,omitempty"`
}

// Latency is how long jobs took from their PubAck to the API, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Summary compares the two programs over all pairs.
type Summary struct {
	Workload string `json:"workload"`
	// Ratio of the worker's rate to the bare loop's, and CPURatio of its CPU seconds, of each pair.
	Ratio    *Spread `json:"ratio,omitempty"`
	CPURatio *Spread `json:"cpu_ratio,omitempty"`
	// LatencyRatio is the worker's rate by what the API's latency allows.
	LatencyRatio *Spread `json:"latency_ratio,omitempty"`
}
