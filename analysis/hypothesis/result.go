package hypothesis

import (
	"fmt"
	"math"

	"llm-auto-optimizer/analysis"
)

// Result is what a test found. The effect is that of the second group against the first.
type Result struct {
	Method    string
	Statistic float64
	DF        float64 // degrees of freedom, where the method has them
	P         float64 // two-sided, in [0, 1]

	Effect    float64 // in the unit of Kind
	Low, High float64 // its 95 % interval; NaN where the method gives none
	Kind      Kind
	// Superiority is the probability that a value of the second group is above one of the first, ties counting half (Vargha and
	// Delaney, 2000), in [0, 1]; NaN where the method does not give it. Cliff's delta is twice it, less one.
	Superiority float64

	Counts [2]float64 // values in the groups
	Level  float64    // of the first group, in its unit
}

// Kind says how an effect reads.
type Kind int

// The kinds of effect.
const (
	Difference Kind = iota // second less first, in their unit; 0 is none
	Ratio                  // second by first; 1 is none
	Distance               // between distributions, in [0, 1], without direction
)

// Judge says whether the difference is both significant, P at most alpha, and at least minEffect: a difference or distance in its
// unit whatever its sign, or a ratio in either direction, 1.1 for a tenth up or down. An effect that is not known is not enough.
func (r Result) Judge(alpha, minEffect float64) (bool, analysis.Reason) {
	size := math.Abs(r.Effect)
	if r.Kind == Ratio && r.Effect > 0 {
		size = max(r.Effect, 1/r.Effect)
	}
	reason := analysis.Reason{
		Method:    r.Method,
		Statistic: "p-value",
		Value:     r.P,
		Threshold: alpha,
		Below:     true,
		Effect:    r.describe(),
		Baseline:  analysis.Baseline{Count: int(r.Counts[0]), Level: r.Level},
	}
	if !(size >= minEffect) {
		reason.Effect += fmt.Sprintf(", less than %.4g", minEffect)
		return false, reason
	}
	return r.P <= alpha, reason
}

func (r Result) describe() string {
	name := [...]string{"difference", "ratio", "distance"}[r.Kind]
	if math.IsNaN(r.Low) || math.IsNaN(r.High) {
		return fmt.Sprintf("%s %.4g", name, r.Effect)
	}
	return fmt.Sprintf("%s %.4g (%.4g to %.4g)", name, r.Effect, r.Low, r.High)
}

// unknown are the fields that a method may leave open.
func unknown(method string, a, b float64) Result {
	return Result{Method: method, P: 1, Low: math.NaN(), High: math.NaN(), Superiority: math.NaN(), Counts: [2]float64{a, b}}
}
