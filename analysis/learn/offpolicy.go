package learn

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"llm-auto-optimizer/analysis"
)

// Logged is one past choice, with what is needed to ask what another policy would have brought.
type Logged struct {
	Reward     float64 // of the choice that was made; any unit
	Propensity float64 // with which it was made, exact, in (0, 1]
	Target     float64 // with which the other policy would have made it, in [0, 1]
	Predicted  float64 // what a model says the choice brings
	Expected   float64 // what the model says the other policy brings here: the mean over its choices
}

// WhatIf is what the other policy would have brought, per choice.
type WhatIf struct {
	Value     float64 // doubly robust
	Low, High float64 // its 95 % interval
	IPS       float64 // inverse propensity alone
	SNIPS     float64 // self-normalised
	Effective float64 // choices that the log is worth
	Weight    float64 // mean of the weights, which should be 1
	Reason    analysis.Reason
}

const (
	weightClip     = 20
	leastEffective = 100
	weightDoubt    = 3 // standard errors by which the mean weight may be off
)

// Estimate asks the log what the other policy would have brought: doubly robust (Dudík, Langford and Li, ICML 2011), with weights
// clipped at 20, next to the inverse propensity estimates that it must not contradict. It is false, with the reason, where the log cannot
// tell: an entry with a number that is not finite or a propensity outside of its range, fewer than 100 effective choices, or weights
// whose mean is off 1 by more than three standard errors, the sign of propensities that are not what was executed (the SNIPS check:
// Swaminathan and Joachims, NIPS 2015). O(n).
func Estimate(log []Logged) (WhatIf, bool) {
	var robust, ips, weights analysis.Moments
	var sum, square, rewarded float64
	for i, l := range log {
		if !(l.Propensity > 0 && l.Propensity <= 1 && l.Target >= 0 && l.Target <= 1) || math.IsNaN(l.Reward+l.Predicted+l.Expected) ||
			math.IsInf(l.Reward+l.Predicted+l.Expected, 0) {
			return WhatIf{Reason: analysis.Reason{Method: "doubly robust", Statistic: "entries that can be used", Value: float64(i),
				Threshold: float64(len(log)), Below: true, Effect: fmt.Sprintf("entry %d is not valid: %+v", i, l)}}, false
		}
		w := min(l.Target/l.Propensity, weightClip)
		robust.Add(l.Expected + w*(l.Reward-l.Predicted))
		ips.Add(w * l.Reward)
		weights.Add(w)
		sum, square, rewarded = sum+w, square+w*w, rewarded+w*l.Reward
	}
	r := WhatIf{Effective: sum * sum / max(square, 1e-300)}
	r.Value, _ = robust.Mean()
	r.IPS, _ = ips.Mean()
	r.Weight, _ = weights.Mean()
	if sum > 0 {
		r.SNIPS = rewarded / sum
	}
	sd, _ := robust.SD()
	n := robust.Count()
	reach := distuv.UnitNormal.Quantile(.975) * sd / math.Sqrt(max(n, 1))
	r.Low, r.High = r.Value-reach, r.Value+reach
	spread, _ := weights.SD()
	off := math.Abs(r.Weight-1) / max(spread/math.Sqrt(max(n, 1)), 1e-9)
	r.Reason = analysis.Reason{Method: "doubly robust", Statistic: "effective choices", Value: r.Effective, Threshold: leastEffective,
		Effect:   fmt.Sprintf("%.4g (%.4g to %.4g), self-normalised %.4g", r.Value, r.Low, r.High, r.SNIPS),
		Baseline: analysis.Baseline{Count: len(log)}}
	if r.Effective >= leastEffective && off > weightDoubt {
		r.Reason = analysis.Reason{Method: "doubly robust", Statistic: "standard errors of the mean weight off 1", Value: off,
			Threshold: weightDoubt, Below: true, Effect: fmt.Sprintf("mean weight %.4g", r.Weight), Baseline: r.Reason.Baseline}
		return r, false
	}
	return r, r.Effective >= leastEffective
}

func percent(v float64) string { return fmt.Sprintf("%.3g %%", 100*v) }
