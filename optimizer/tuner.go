package optimizer

import "llm-auto-optimizer/analysis"

// Tuner proposes changes of the parameters that it owns. Implementations are pure: equal evidence gives an equal proposal. What they may change and how
// fast is the guard's business.
type Tuner interface {
	// Name is the tuner's name in settings, metrics and the journal.
	Name() string
	// Owns tells whether the tuner owns a parameter. No two tuners own the same.
	Owns(parameter string) bool
	// Propose says what the route's parameters should be. Without changes it is a hold, of which the reason says why.
	Propose(e *RouteEvidence) Proposal
}

// Untriable is a tuner whose changes can't be tried on a part of the traffic, nor measured against the hold-back, because all traffic feels them. Its mode canary is
// recommend.
type Untriable interface {
	// Why tells what all traffic shares.
	Why() string
}

// Proposal is what a tuner wants, and why.
type Proposal struct {
	Changes  []Change        `json:"changes,omitempty"`
	Reason   string          `json:"reason"`
	Evidence analysis.Reason `json:"statistic"` // no other field of Decision has that name
	Expected Effect          `json:"expected"`
	Urgent   bool            `json:"urgent,omitempty"` // it ends harm, and need not wait
}

// Effect is what a change does to a route.
type Effect struct {
	Cost       float64 `json:"cost"`       // US dollars per exchange, less than 0: cheaper
	Relative   float64 `json:"relative"`   // the same, as a part of what an exchange costs
	Violations float64 `json:"violations"` // part of the exchanges, less than 0: fewer
}
