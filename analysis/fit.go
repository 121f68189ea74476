package analysis

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// Family is a family of distributions.
type Family int

// The families, by their parameters.
const (
	Normal    Family = iota // mean, standard deviation
	Lognormal               // mean and standard deviation of the logarithm; values above 0
	Gamma                   // shape, rate; values above 0
	Beta                    // alpha, beta; values in (0, 1)
	familiesEnd
)

func (f Family) String() string { return [...]string{"normal", "lognormal", "gamma", "beta"}[f] }

// Fitted is a distribution fitted to a sample, with how well it fits.
type Fitted struct {
	Family        Family
	Parameters    [2]float64
	KS            float64 // largest distance between the two distribution functions, in [0, 1]
	LogLikelihood float64 // of the values; those in buckets at the middle of theirs
	Count         float64
}

// Fit fits a family to s: by maximum likelihood, beta by moments. It is false for fewer than three values, if all are equal, or for
// a value outside of the family's range. O(n).
func (s Sample) Fit(f Family) (Fitted, bool) {
	raw, logs := s.Moments(), Moments{}
	fit := Fitted{Family: f, Count: raw.count}
	if raw.count < 3 || raw.m2 <= 0 {
		return fit, false
	}
	if f == Lognormal || f == Gamma {
		if s[0].middle() <= 0 {
			return fit, false
		}
		for _, m := range s {
			logs.AddWeighted(math.Log(m.middle()), m.Count)
		}
	}
	switch f {
	case Normal:
		fit.Parameters = [2]float64{raw.mean, math.Sqrt(raw.m2 / raw.count)}
	case Lognormal:
		fit.Parameters = [2]float64{logs.mean, math.Sqrt(logs.m2 / logs.count)}
	case Gamma:
		shape := gammaShape(math.Log(raw.mean) - logs.mean)
		fit.Parameters = [2]float64{shape, shape / raw.mean}
	case Beta:
		variance := raw.m2 / raw.count
		size := raw.mean*(1-raw.mean)/variance - 1 // alpha + beta
		if s[0].middle() <= 0 || s[len(s)-1].middle() >= 1 || size <= 0 {
			return fit, false
		}
		fit.Parameters = [2]float64{raw.mean * size, (1 - raw.mean) * size}
	default:
		return fit, false
	}
	if !(fit.Parameters[1] > 0) || math.IsInf(fit.Parameters[0], 0) {
		return fit, false
	}
	fit.measure(s)
	return fit, true
}

// gammaShape solves log(shape) - digamma(shape) = excess, the logarithm of the mean less the mean logarithm, above 0 (Minka,
// "Estimating a gamma distribution", 2002). Four or five Newton steps suffice from his starting point.
func gammaShape(excess float64) float64 {
	excess = max(excess, 1e-12)
	shape := (3 - excess + math.Sqrt((excess-3)*(excess-3)+24*excess)) / (12 * excess)
	for range 20 {
		f := math.Log(shape) - mathext.Digamma(shape) - excess
		step := f / (1/shape - mathext.Zeta(2, shape)) // Zeta(2, x) is the trigamma function
		next := shape - step
		if !(next > 0) {
			next = shape / 2
		}
		if math.Abs(next-shape) <= 1e-12*shape {
			return next
		}
		shape = next
	}
	return shape
}

// measure fills in KS and LogLikelihood.
func (f *Fitted) measure(s Sample) {
	d := f.distribution()
	seen := 0.
	for _, m := range s {
		f.LogLikelihood += m.Count * d.LogProb(m.middle())
		at := d.CDF(m.High)
		if m.Low == m.High { // a bucket's values are known at its upper edge only, a point's also just below it
			f.KS = max(f.KS, math.Abs(at-seen/f.Count))
		}
		seen += m.Count
		f.KS = max(f.KS, math.Abs(seen/f.Count-at))
	}
}

type distribution interface {
	CDF(float64) float64
	LogProb(float64) float64
	Quantile(float64) float64
}

func (f *Fitted) distribution() distribution {
	a, b := f.Parameters[0], f.Parameters[1]
	switch f.Family {
	case Lognormal:
		return distuv.LogNormal{Mu: a, Sigma: b}
	case Gamma:
		return distuv.Gamma{Alpha: a, Beta: b}
	case Beta:
		return distuv.Beta{Alpha: a, Beta: b}
	}
	return distuv.Normal{Mu: a, Sigma: b}
}

// Quantile returns the q-quantile of the fitted distribution, q in (0, 1); NaN outside.
func (f *Fitted) Quantile(q float64) float64 {
	if !(q > 0 && q < 1) {
		return math.NaN()
	}
	return f.distribution().Quantile(q)
}

// AIC is Akaike's information criterion; less is better. All families have two parameters, so that it orders as the likelihood does.
func (f *Fitted) AIC() float64 { return 4 - 2*f.LogLikelihood }

// Reason says how well the distribution fits, against the 5 % point of the Kolmogorov-Smirnov distance for parameters that were
// fitted (Lilliefors, "On the Kolmogorov-Smirnov test for normality with mean and variance unknown", JASA 1967; exact for the
// normal family, a guide for the others). Fired means that it does not fit.
func (f *Fitted) Reason() Reason {
	return Reason{
		Method:    f.Family.String() + " fit",
		Statistic: "Kolmogorov-Smirnov distance",
		Value:     f.KS,
		Threshold: .886 / math.Sqrt(f.Count),
		Effect:    fmt.Sprintf("parameters %.4g, %.4g", f.Parameters[0], f.Parameters[1]),
		Baseline:  Baseline{Count: int(f.Count)},
	}
}

// BestFit returns the family with the least AIC among those that the sample's range admits; false if none fits.
func (s Sample) BestFit() (best Fitted, ok bool) {
	for f := range familiesEnd {
		if fit, fits := s.Fit(f); fits && (!ok || fit.AIC() < best.AIC()) {
			best, ok = fit, true
		}
	}
	return best, ok
}
