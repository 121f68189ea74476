package simulate

import (
	"time"

	"llm-auto-optimizer/proxy/pick"
)

// Scenario is what a file says.
type Scenario struct {
	Name    string
	Route   Route
	Targets []Target
	Traffic Traffic
	Events  []Event
	Expects []Expectation
	For     time.Duration
	Seeds   int

	Providers []Provider
	Callers   []Caller
	Steps     []Step
}

// Route is the route that clients use.
type Route struct {
	Name      string
	SLO       time.Duration // of the time to first token
	Errors    float64       // that may fail
	Attempts  int
	FirstByte time.Duration // until an attempt without answer is given up
	Learned   float64       // first_byte_factor; 0: none
	Hedge     float64
	Affinity  bool
	Explore   float64 // share of choices by chance
	Holdback  float64 // share of the sessions that the optimizer leaves alone
	Ejection  pick.Ejection
	Wait      time.Duration // for room within limits
}

// Target is a simulated target while nothing is wrong.
type Target struct {
	Name        string
	In, Out     float64       // US dollars per million tokens
	Cached      float64       // the same of input that its prompt cache has
	Keeps       time.Duration // that the prompt cache holds what was used last; 0: it has none
	Prefill     time.Duration // that a thousand input tokens add to the time to first token, cached ones left out
	TTFT        time.Duration
	Sigma       float64 // of the logarithm of the time to first token
	TPOT        time.Duration
	Concurrency int // from which on requests wait for each other; 0: never
	Errors      float64
	Stragglers  float64 // part of the answers that begin late
	StragglerBy float64 // this many times as late
	Weight      float64
	Priority    int
	Max         int // max_concurrency of the route's target
	Provider    int // whose limits it is under; noProvider: none
}

// Traffic is who asks for what.
type Traffic struct {
	Rate                    float64 // requests a second, Poisson
	Input, Output           float64 // medians, tokens
	InputSigma, OutputSigma float64
	Trace                   string  // path of a trace in place of all this; empty: none
	Session                 float64 // mean requests of a conversation; 0: each is one of its own
	Scale                   float64
	Speed                   float64
}

// Event is something that changes at a target.
type Event struct {
	At     time.Duration
	Target int
	What   string // errors, ttft, quota, blackhole, hang, drip, price, quality
	Value  float64
	For    time.Duration // 0: to the end
	line   int
}

// end is when the event is over.
func (e *Event) end(total time.Duration) time.Duration {
	if e.For == 0 {
		return total
	}
	return min(e.At+e.For, total)
}

// Expectation is a bound that a run has to keep.
type Expectation struct {
	Metric string // share, failed, violations, cost, ejections, detected, p95, p99, hedged, used, refused, fair, served, waited
	Target int    // of share, ejections and detected, the provider of used and refused, or the caller of served; -1: all
	Op     string // <, <=, >, >=
	Value  float64
	Within time.Duration // after Of; the bound holds from then on to the end of the event that begins at Of
	Of     time.Duration
	Timed  bool
	Text   string
	line   int
}

func (e *Expectation) holds(v float64) bool {
	switch e.Op {
	case "<":
		return v < e.Value
	case "<=":
		return v <= e.Value
	case ">":
		return v > e.Value
	default:
		return v >= e.Value
	}
}
