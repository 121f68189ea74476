package pick

import (
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// Spec is what the configuration says of a route.
type Spec struct {
	Name     string
	Targets  []TargetSpec  // at most MaxTargets
	SLO      time.Duration // of the time to first token; what is no stream has none; 0: none
	Attempts int           // of one exchange, all targets and fallbacks together; at least 1
	Backoff  time.Duration // before the first repetition at the same target; doubles each time
	MaxWait  time.Duration // longest wait before a repetition, Retry-After included
	FailFast bool          // refuse at once while every target is ejected, instead of trying one
	Affinity bool
	// Exploration is the share of choices that are uniform over all targets that have a share: what the optimizer learns from, and what keeps the times of rarely used targets fresh.
	Exploration float64
	Fallback    [Causes][]string // by cause: names of targets of this route, or of other routes
	Ejection    Ejection
}

// MaxTargets of a route: what a bit set of those that were tried holds.
const MaxTargets = 64

// TargetSpec is what the configuration says of a target of a route.
type TargetSpec struct {
	Name           string
	Identity       string // provider, model and key in some form: a target that keeps it keeps its state when settings change
	Priority       int    // the lowest that has a usable target is used
	MaxConcurrency int    // attempts at a time; 0: no bound
	Equal          string // targets with the same mark may stand in for each other: model and price
	Dialect        uint8  // of its wire format
}

// Ejection says how a target that fails is taken out.
type Ejection struct {
	Off        bool
	FalseEvery float64       // attempts between false ejections of a target, on average
	Base       time.Duration // of the first; doubles each time
	Max        time.Duration
	SlowStart  time.Duration // until a target that came back has its whole share
}

// DefaultExploration is what the defaults of the configuration say.
const DefaultExploration = .01

// DefaultEjection is what the defaults of the configuration say.
var DefaultEjection = Ejection{FalseEvery: 10 * 25 * 86400, Base: 10 * time.Second, Max: 2 * time.Minute, SlowStart: time.Minute}

// Cause is why an attempt did not serve its exchange; it chooses the fallback chain.
type Cause uint8

// The causes.
const (
	Failed      Cause = iota // no connection, 5xx, a deadline, a broken or empty answer
	RateLimited              // 429
	Context                  // the prompt is too long for the model
	Content                  // refused by a content policy
	Budget                   // nothing left to spend: 402, exhausted quotas
	Causes                   // number of causes
)

var causeNames = [Causes]string{"error", "rate_limit", "context", "content", "budget"}

// String is the cause's name in configuration and logs.
func (c Cause) String() string {
	if c >= Causes {
		return ""
	}
	return causeNames[c]
}

// Classes is the number of workload classes.
const Classes = 3

// Query is what a choice depends on.
type Query struct {
	Class   int // workload class, from 0
	Arm     policy.Arm
	Stream  bool   // the answer is wanted as a stream
	Input   int64  // estimated input tokens
	Prefix  Prefix // of prefix affinity
	Pin     int    // index of the target to use, from 1; 0: none
	Dialect uint8  // targets of others are passed over; 0: any
}

func (q *Query) kind() kind {
	if q.Stream {
		return streams
	}
	return plain
}

// kind tells answers apart whose times can't be compared.
type kind uint8

const (
	plain   kind = iota // time to the whole answer
	streams             // time to first token
	kinds
)
