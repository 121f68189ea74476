package analysis

import (
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// MinTTL and MaxTTL bound what TTL answers.
const (
	MinTTL = 30 * time.Second
	MaxTTL = 7 * 24 * time.Hour
)

// TTL is the time to live that saves most, of answers that are asked for rate times a second each (Poisson) and change change times a second
// (Poisson), where serving a stale answer costs stale times what a hit saves: the share of stale hits never exceeds eps.
//
// A cycle of time T has one miss and rate T hits, of which at age a the part 1 - exp(-change a) is stale, about change T/2 on average. What is saved per
// request is rate T (1 - stale change T/2) / (1 + rate T), which has its maximum at (sqrt(1 + 2 rate/(stale change)) - 1) / rate. For large
// rate T that is the square-root rule, sqrt(2/(rate change stale)); without the -1 it is too long where hits are few. The cap 2 eps/change holds
// the share of stale hits at eps.
//
// The answer lies in [MinTTL, MaxTTL], whatever the cap: where change exceeds 2 eps/MinTTL, nothing should be cached, which StaleShare tells. No
// requests, no eps, and arguments that are not numbers give MinTTL; no change gives MaxTTL; without stale only the cap holds.
func TTL(rate, change, stale, eps float64) time.Duration {
	seconds := MaxTTL.Seconds()
	switch {
	case !(rate > 0) || math.IsNaN(change) || math.IsNaN(stale) || !(eps > 0):
		return MinTTL
	case change <= 0:
		return MaxTTL
	}
	if stale > 0 {
		// The rationalised form loses no digits where the root is near 1.
		x := 2 * rate / (stale * change)
		seconds = min(seconds, x/(rate*(math.Sqrt(1+x)+1)))
	}
	seconds = min(seconds, 2*eps/change)
	return time.Duration(max(seconds, MinTTL.Seconds()) * float64(time.Second)).Round(time.Millisecond)
}

// StaleShare is the share of hits that are stale, of answers that change change times a second and are served for ttl.
func StaleShare(change float64, ttl time.Duration) float64 {
	x := change * ttl.Seconds()
	if x < 1e-6 {
		return x / 2 // the difference below would have no digits
	}
	return 1 + math.Expm1(-x)/x
}

// NetSaving is what a time to live saves per request, in hits: hits less what stale ones cost. The arguments are those of TTL.
func NetSaving(rate, change, stale float64, ttl time.Duration) float64 {
	hits := rate * ttl.Seconds()
	return hits * (1 - stale*StaleShare(change, ttl)) / (1 + hits)
}

const (
	// ages are kept in bins that are a quarter of a doubling wide, from a second to four months.
	hazardBins, hazardFine = 96, 4
	// hazardExact is the smallest p-value that a bound is computed for.
	hazardExact = 1e-6
)

// Hazard estimates how often answers change, from revalidations: at some age an answer was asked for again, and was or wasn't the same.
// Changes are taken to be a Poisson process. It keeps 1.5 KB. The zero value has seen nothing.
type Hazard struct {
	same, changed [hazardBins]float64 // by age
	sumSame       [hazardBins]float64 // of the ages in seconds, in the bin
	sumChanged    [hazardBins]float64
}

// Add takes a revalidation at an age; ages below a second count as that.
func (h *Hazard) Add(age time.Duration, changed bool) {
	seconds := max(age.Seconds(), 1)
	i := hazardBin(age)
	if changed {
		h.changed[i]++
		h.sumChanged[i] += seconds
	} else {
		h.same[i]++
		h.sumSame[i] += seconds
	}
}

// Forget weighs all that was added so far by keep, in [0, 1], so that the estimate can follow.
func (h *Hazard) Forget(keep float64) {
	for i := range hazardBins {
		h.same[i] *= keep
		h.changed[i] *= keep
		h.sumSame[i] *= keep
		h.sumChanged[i] *= keep
	}
}

// Merge adds what another has seen.
func (h *Hazard) Merge(other *Hazard) {
	for i := range hazardBins {
		h.same[i] += other.same[i]
		h.changed[i] += other.changed[i]
		h.sumSame[i] += other.sumSame[i]
		h.sumChanged[i] += other.sumChanged[i]
	}
}

// Count returns the number of revalidations, and of those that found a change.
func (h *Hazard) Count() (all, changed float64) {
	for i := range hazardBins {
		all += h.same[i] + h.changed[i]
		changed += h.changed[i]
	}
	return all, changed
}

// Between returns the same of the revalidations at ages from and up to, but for a quarter of a doubling.
func (h *Hazard) Between(from, to time.Duration) (all, changed float64) {
	for i := hazardBin(from); i < hazardBin(to); i++ {
		all += h.same[i] + h.changed[i]
		changed += h.changed[i]
	}
	return all, changed
}

// hazardBin is where revalidations at an age are.
func hazardBin(age time.Duration) int {
	return min(int(math.Log2(max(age.Seconds(), 1))*hazardFine), hazardBins-1)
}

// Estimate returns the most likely number of changes a second, and a bound that the true one is below with so much confidence, in (0.5, 1). Both are
// infinite when every revalidation found a change. false: there was no revalidation.
//
// The bound is the larger one of the likelihood ratio's and of that for a Poisson count over the exposure that the estimate speaks of. The latter
// is what holds for few changes: none in an exposure of E seconds gives 3/E at 95 % (the rule of three). The former is what holds for answers that were
// looked at long after they had changed, which tell little.
func (h *Hazard) Estimate(confidence float64) (change, upper float64, enough bool) {
	all, changed := h.Count()
	if !(all > 0) {
		return 0, 0, false
	}
	exposure := 0.0
	for _, s := range h.sumSame {
		exposure += s
	}
	if changed > 0 {
		change = h.root(func(mu float64) bool { return h.score(mu, 0) > 0 })
		if changed >= all || math.IsInf(change, 1) {
			return math.Inf(1), math.Inf(1), true
		}
		exposure = changed / change
	}
	p := max(1-confidence, hazardExact)
	upper = distuv.Gamma{Alpha: changed + 1, Beta: 1}.Quantile(1-p) / exposure
	z := distuv.UnitNormal.Quantile(1 - p)
	return change, max(upper, h.below(change, 0, h.likelihood(change, 0)-z*z/2)), true
}

// below is the highest rate of change, from one on, whose likelihood is above a limit.
func (h *Hazard) below(change, noise, limit float64) float64 {
	return h.root(func(mu float64) bool { return mu <= change || h.likelihood(mu, noise) > limit })
}

// noises are the parts of the answers that EstimateNoisy tries at first.
var noises = []float64{.005, .01, .02, .04, .07, .1, .15, .2, .3, .4, .5, .6, .75, .9}

const (
	// noiseSurely is twice the logarithm of the likelihood ratio from which on there is noise: one time in twenty without any (chi-squared at the edge).
	noiseSurely = 2.71
	// noiseFine is how many more are tried about the best of noises.
	noiseFine = 10
)

// EstimateNoisy is Estimate where a part of the answers, noise, may be another one each time it is asked for, however young: what is found changed beyond that
// counts. Where not one was the same, it is 1. Else the part is the likeliest one where that stands out, and 0 else: ages from young to old tell it from changes. The bound holds for whatever part it may
// be (profile likelihood). It takes up to a millisecond.
func (h *Hazard) EstimateNoisy(confidence float64) (change, upper, noise float64, enough bool) {
	change, upper, enough = h.Estimate(confidence)
	switch _, changed := h.Count(); {
	case !enough || changed == 0:
		return change, upper, 0, enough
	case math.IsInf(change, 1): // not one was the same
		return change, upper, 1, true
	}
	type profile struct{ noise, change, likelihood float64 }
	at := func(q float64) profile {
		mu := h.root(func(mu float64) bool { return h.score(mu, q) > 0 })
		return profile{q, mu, h.likelihood(mu, q)}
	}
	plain := profile{0, change, h.likelihood(change, 0)}
	all, best := []profile{plain}, 0
	for i, q := range noises {
		if all = append(all, at(q)); all[i+1].likelihood > all[best].likelihood {
			best = i + 1
		}
	}
	if all[best].likelihood <= plain.likelihood+noiseSurely/2 {
		return change, upper, 0, true
	}
	from, to := all[best-1].noise, all[min(best+1, len(noises))].noise
	for i := range noiseFine {
		all = append(all, at(from+(to-from)*float64(i+1)/(noiseFine+1)))
		if all[len(all)-1].likelihood > all[best].likelihood {
			best = len(all) - 1
		}
	}
	z := distuv.UnitNormal.Quantile(min(confidence, 1-hazardExact))
	limit := all[best].likelihood - z*z/2
	change, noise = all[best].change, all[best].noise
	upper = change
	for _, p := range all {
		if p.likelihood > limit && (p.change > upper || h.likelihood(upper, p.noise) > limit) { // else it ends before
			upper = max(upper, h.below(p.change, p.noise, limit))
		}
	}
	return change, upper, noise, true
}

// rootSteps halve what is between the ends to a part in ten million.
const rootSteps = 30

// root is where below ends to hold, between 10^-12 and 10^3 a second; infinite: it holds everywhere.
func (h *Hazard) root(below func(mu float64) bool) float64 {
	lo, hi := math.Log(1e-12), math.Log(1e3)
	if below(math.Exp(hi)) {
		return math.Inf(1)
	}
	for range rootSteps {
		if mid := (lo + hi) / 2; below(math.Exp(mid)) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return math.Exp((lo + hi) / 2)
}

// score is the derivative of the likelihood: an answer found changed at age a weighs a r/(1 - r), where r = (1 - noise) exp(-mu a) is the chance that it is found the
// same, and one found the same -a.
func (h *Hazard) score(mu, noise float64) (s float64) {
	for i := range hazardBins {
		if n := h.changed[i]; n > 0 {
			age := h.sumChanged[i] / n
			s += h.sumChanged[i] * (1 - noise) / (math.Expm1(mu*age) + noise)
		}
		s -= h.sumSame[i]
	}
	return s
}

// likelihood is the logarithm of it.
func (h *Hazard) likelihood(mu, noise float64) (l float64) {
	for i := range hazardBins {
		if n := h.changed[i]; n > 0 {
			r := math.Expm1(-mu * h.sumChanged[i] / n)
			l += n * math.Log(noise-(1-noise)*r) // 1 - (1 - noise)(1 + r), which keeps its digits where both are small
		}
		l += h.same[i]*math.Log1p(-noise) - mu*h.sumSame[i]
	}
	return l
}
