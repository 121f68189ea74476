package learn

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// Arm is the belief about how often a choice goes wrong: a beta distribution whose evidence fades, so that an arm that was bad is
// tried again (discounted Thompson sampling: Raj and Kalyani, arXiv 1707.09727, 2017). The zero value believes nothing: any rate is
// as likely.
type Arm struct{ Bad, Good float64 }

// discount is what older evidence keeps at each new observation: a memory of 1,000.
const discount = .999

// Observe takes an outcome in, bad in [0, 1]. NaN and values outside change nothing. Each observation of any arm should be shown to
// the others by [Arm.Fade].
func (a *Arm) Observe(bad float64) {
	if !(bad >= 0 && bad <= 1) {
		return
	}
	a.Fade()
	a.Bad += bad
	a.Good += 1 - bad
}

// Fade lets the evidence age by one observation.
func (a *Arm) Fade() { a.Bad, a.Good = discount*a.Bad, discount*a.Good }

// Reset forgets: what was learned is about a regime that is over.
func (a *Arm) Reset() { *a = Arm{} }

// Mean returns the expected rate, in (0, 1).
func (a Arm) Mean() float64 { return (a.Bad + 1) / (a.Bad + a.Good + 2) }

// Upper returns the rate that is exceeded with probability alpha in (0, 1), by the belief. Counts of -1 and less believe next to nothing.
func (a Arm) Upper(alpha float64) float64 {
	return distuv.Beta{Alpha: max(a.Bad+1, leastBelief), Beta: max(a.Good+1, leastBelief)}.Quantile(1 - min(max(alpha, 1e-12), 1-1e-12))
}

// leastBelief keeps the distribution's parameters where it is defined.
const leastBelief = .001

// Draw returns a rate drawn from the belief.
func (a Arm) Draw(draw *rand.Rand) float64 {
	return distuv.Beta{Alpha: a.Bad + 1, Beta: a.Good + 1, Src: source{draw}}.Rand()
}

// source lets gonum draw from our generator.
type source struct{ *rand.Rand }

// Shares returns for each arm the probability that its draw is the lowest, from draws of the belief, with a floor for each: what
// Thompson sampling would give it, and the exact propensity when a choice is drawn with these shares. The same for the same seed.
// floor is at most 1/len(arms); draws below 1 count as 1. O(arms draws).
func Shares(arms []Arm, floor float64, draws int, seed uint64) []float64 {
	shares := make([]float64, len(arms))
	if len(arms) == 0 {
		return shares
	}
	draw := rand.New(rand.NewPCG(seed, 0x7468))
	for range max(draws, 1) {
		best, least := 0, math.Inf(1)
		for i, a := range arms {
			if v := a.Draw(draw); v < least {
				best, least = i, v
			}
		}
		shares[best] += 1 / float64(max(draws, 1))
	}
	floor = min(max(floor, 0), 1/float64(len(arms)))
	for i := range shares {
		shares[i] = floor + (1-floor*float64(len(arms)))*shares[i]
	}
	return shares
}
