package optimizer

import (
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// Evidence is what a cycle knows. It is plain data: it goes into the journal and comes back equal.
type Evidence struct {
	At     time.Time       `json:"at"`
	Routes []RouteEvidence `json:"routes"`
}

// RouteEvidence is what a cycle knows of a route.
type RouteEvidence struct {
	Name      string            `json:"name"`
	Budgets   []BudgetForecast  `json:"budgets,omitempty"`
	Pressure  *Pressure         `json:"pressure,omitempty"` // of the budgets, on routing
	Objective Objective         `json:"objective"`
	InForce   policy.Parameters `json:"in_force"`
	Static    policy.Parameters `json:"static"` // the operator's own settings
	Classes   [classes]Load     `json:"classes"`
	Targets   []TargetEvidence  `json:"targets"` // in the order of the configuration
	Attempts  Attempts          `json:"attempts"`
	Cache     *CacheEvidence    `json:"cache,omitempty"`  // nil: the route keeps no answers
	Limits    *LimitEvidence    `json:"limits,omitempty"` // nil: there are none to keep to
}

const classes = policy.Classes

// Objective is what an operator wants of a route.
type Objective struct {
	TTFT       time.Duration `json:"ttft_ns"`                   // until the first token; 0: any
	Violations float64       `json:"violations"`                // share of the exchanges that may fail, or begin later; 0: none is asked for
	Quality    float64       `json:"quality,omitempty"`         // least mean quality of the targets, by shares; 0: any
	MaxCost    float64       `json:"max_cost_per_1k,omitempty"` // US dollars that a thousand exchanges may be expected to cost; 0: any
}

// Load is the traffic of a class.
type Load struct {
	Rate   float64 `json:"rate"`   // exchanges a second
	Input  float64 `json:"input"`  // mean tokens, cached ones included
	Output float64 `json:"output"` // mean tokens
}

// TargetEvidence is what a cycle knows of a target. Counts fade.
type TargetEvidence struct {
	Name      string        `json:"name"`
	Available bool          `json:"available"`         // it is not ejected, drained or on probation
	Usual     bool          `json:"usual"`             // and has not been for a while
	Rate      float64       `json:"rate"`              // exchanges a second that were sent to it first
	Capacity  float64       `json:"capacity"`          // exchanges a second that it is believed to take; 0: not known
	Slowness  float64       `json:"slowness"`          // time per output token, as a factor of its own usual one; 0: not known
	Quality   float64       `json:"quality,omitempty"` // as the operator judges it; 0: not known
	Like      string        `json:"like,omitempty"`    // the same for targets of the same quality of which only their prompt caches tell what they cost apart; empty: like no other
	Cells     [classes]Cell `json:"cells"`
	Regime    *Regime       `json:"regime,omitempty"` // last change of how it serves, where that is new
	Pace      PaceEvidence  `json:"pace,omitzero"`
}

// Cell is what is known of exchanges of a class that were sent to a target first.
type Cell struct {
	Count      float64 `json:"count"`      // exchanges, faded
	Violations float64 `json:"violations"` // of them
	Unit       float64 `json:"unit"`       // US dollars per token of work, see work; 0: not known
	In         float64 `json:"in"`         // US dollars per input token
	Out        float64 `json:"out"`        // and per output token; 0: not known, Unit counts
}

// Attempts is what a cycle knows of repetitions, given up attempts and hedges: of treated exchanges since the parameters that bound them were last changed.
// Counts are of exchanges where nothing else is said, and fade.
type Attempts struct {
	Age        time.Duration `json:"age_ns"` // of the parameters
	Count      float64       `json:"count"`
	Violations float64       `json:"violations"`
	Cost       float64       `json:"cost"` // US dollars, of all

	Repeated float64 `json:"repeated"` // had another attempt after one that had failed
	Rescued  float64 `json:"rescued"`  // of these, served by it
	Refused  float64 `json:"refused"`  // repetitions that there was no budget for

	Late      float64    `json:"late"`      // an attempt was given up at the learned bound
	LateKept  float64    `json:"late_kept"` // of these, still within the objective
	Deadlines []Deadline `json:"deadlines,omitempty"`

	Hedged float64 `json:"hedged"`
	Lost   float64 `json:"lost"`  // US dollars, for attempts that lost against another one beside them
	Saved  float64 `json:"saved"` // hedged, and would have violated the objective without: an estimate
	Doubt  float64 `json:"doubt"` // its standard error

	Hedgeable float64 `json:"hedgeable"` // violations that a second attempt at the 97th percentile would have kept within the objective: an estimate
}

// Deadline is what another learned bound of the first byte is expected to have done to the same exchanges.
type Deadline struct {
	Factor     float64 `json:"factor"`
	Late       float64 `json:"late"`       // given up
	Most       float64 `json:"most"`       // share of a target's exchanges that is given up though it would be answered, where that is highest
	Violations float64 `json:"violations"` // less than 0: fewer than there were
}

// work is what an exchange is paid for, in input tokens: with all vendors an output token costs about five times as much.
func work(input, output float64) float64 { return input + outputWeight*output }

const outputWeight = 5

// Cost is what an exchange of the class is expected to cost at the target, in US dollars; known is false where nothing is known.
func (e *RouteEvidence) Cost(target, class int) (cost float64, known bool) {
	cell, load := &e.Targets[target].Cells[class], &e.Classes[class]
	if cell.Out > 0 {
		return cell.In*load.Input + cell.Out*load.Output, true
	}
	unit := cell.Unit
	return unit * work(load.Input, load.Output), unit > 0
}
