package simulate

import (
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/policy"
)

// limitsOf is how a route keeps to limits where nothing is tuned: there is something to tune where a provider has some.
func limitsOf(w *world) policy.Limits {
	if len(w.Providers) == 0 {
		return policy.Limits{}
	}
	return policy.Limits{Output: 1, PaceWait: w.Route.Wait.Seconds()}
}

// paceShareOf is the share of the limits of a target's provider that is used where nothing is tuned.
func paceShareOf(t *Target) float64 {
	if t.Provider == noProvider {
		return 0
	}
	return limit.DefaultShare
}

// use has the target's provider's limits used as far as the exchange's parameters say.
func (x *productionWalk) use(target int) {
	if share := x.params.Targets[x.p.w.Targets[target].Name].Pace; share > 0 {
		x.paceOf(target).share = share
	}
}

// patience is how long an exchange waits for room in the limits of providers.
func (x *productionWalk) patience() time.Duration {
	if s := x.params.Limits.PaceWait; s > 0 {
		return time.Duration(s * float64(time.Second))
	}
	return x.p.w.Route.Wait
}

// held notes that there is no room for the exchange yet.
func (x *productionWalk) held(target int) {
	p := x.paceOf(target)
	x.lacks, x.lacked = true, p.lacks
	if p.told {
		x.p.paced[target].Held++
	}
}

// tellLimits says what limits have done to the exchange.
func (x *productionWalk) tellLimits(o *window.Exchange, e *ended) {
	o.Limited.Paced = x.paced
	if x.lacks {
		o.Limited.Lacked = 1 << x.lacked
	}
	if x.away {
		o.Limited.Refused, o.Limited.Short = window.ByProvider, x.short
	}
	if e.served {
		o.Limited.Reserved, o.Limited.Guessed = int32(x.size), x.guessed //nolint:gosec // tokens
	}
}
