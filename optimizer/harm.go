package optimizer

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/learn"
	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// HarmLimit is the e-value from which on the optimizer does harm: were it not to, that would ever be reached with a probability of one in HarmLimit.
const HarmLimit = 20

// Harm is whether a route is worse off with the optimizer than without, however often one asks.
type Harm struct {
	Harmful bool            `json:"harmful"`
	EValue  float64         `json:"e_value"` // the mean of those of failures and of violations, which is one too; at most 1e300
	Reason  analysis.Reason `json:"reason"`  // of the worse of the two
}

// harmWatch are the e-processes of a route. A session is one outcome, the share of its exchanges that were bad: exchanges of a session are alike, and would
// be taken for more evidence than they are. Sessions are followed in a table; one that loses its place to another is over.
type harmWatch struct {
	failures, violations learn.Harm
	table                [sides][]visit
}

// visit is a session under way.
type visit struct {
	hash                    uint64 // 0: the place is free
	from                    int64  // Unix seconds
	n, failures, violations uint32
	told                    bool // it counts no more
}

const (
	visitPlaces = 1024               // of each side
	visitLength = 60                 // seconds from a session's first exchange until it counts; what comes later does not
	visitSample = math.MaxUint64 / 8 // of the sessions outside of the hold-back one in eight is followed: those of the hold-back are the scarce ones
)

// add takes an exchange in; hash is its session's, well mixed.
func (h *harmWatch) add(x *window.Exchange, hash uint64) {
	treated := policy.Arm(x.Arm) != policy.Holdback
	side := holdback
	if treated {
		if side = 0; hash > visitSample {
			return
		}
	}
	if h.table[side] == nil {
		h.table[side] = make([]visit, visitPlaces)
	}
	v := &h.table[side][scatter(hash)%visitPlaces]
	if v.hash != hash {
		h.tell(treated, v)
		*v = visit{hash: max(hash, 1), from: x.At.Unix()}
	}
	if v.told {
		return
	}
	v.n++
	if x.Failed {
		v.failures++
	}
	if x.Violation {
		v.violations++
	}
	if x.Session == 0 || x.At.Unix()-v.from >= visitLength {
		h.tell(treated, v)
	}
}

// tell counts a session, unless it was.
func (h *harmWatch) tell(treated bool, v *visit) {
	if v.hash == 0 || v.told || v.n == 0 {
		return
	}
	v.told = true
	h.failures.Add(treated, float64(v.failures)/float64(v.n))
	h.violations.Add(treated, float64(v.violations)/float64(v.n))
}

// settle counts the sessions that have been under way for long enough.
func (h *harmWatch) settle(now time.Time) {
	for side := range h.table {
		for i := range h.table[side] {
			if v := &h.table[side][i]; now.Unix()-v.from >= visitLength {
				h.tell(side == treated, v)
			}
		}
	}
}

// Harm says whether a route is worse off for the optimizer: more failures, or more violations of its objective, than in the hold-back. It counts sessions
// that are under way for a minute, and begins anew with each epoch.
func (p *Proof) Harm(route string, now time.Time) Harm {
	r := p.routes[route]
	if r == nil {
		return Harm{EValue: 1, Reason: (&learn.Harm{}).Reason(HarmLimit)}
	}
	r.harm.settle(now)
	return r.harm.verdict()
}

func (h *harmWatch) verdict() Harm {
	a, b := h.failures.Log(), h.violations.Log()
	worse := &h.failures
	if b >= a {
		worse = &h.violations
	}
	high := max(a, b)
	log := high + math.Log((math.Exp(a-high)+math.Exp(b-high))/2)
	reason := worse.Reason(HarmLimit)
	reason.Value = log
	what := "failures "
	if worse == &h.violations {
		what = "violations "
	}
	reason.Effect = what + reason.Effect
	return Harm{Harmful: reason.Fired(), EValue: math.Exp(min(log, 690)), Reason: reason}
}
