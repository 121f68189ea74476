package hypothesis

import (
	"math"

	"llm-auto-optimizer/analysis"
)

// Group is one of the samples that a test compares.
type Group struct {
	analysis.Sample
	// Inflation is how many values of it are worth one independent value, at least 1; 0 counts as 1.
	Inflation float64
}

// Independent is a group of values that know nothing of each other, such as requests: raw ones or a histogram.
func Independent(s analysis.Sample) Group { return Group{Sample: s, Inflation: 1} }

// Series is a group of values in the order of time, such as ticks, whose autocorrelation is taken into account as that of an AR(1)
// process: n values are worth n (1-r)/(1+r) independent ones (Bartlett 1946). r is the lag-1 autocorrelation, freed of its bias
// of -(1+3r)/n (Marriott and Pope, "Bias in the estimation of autocorrelations", Biometrika 1954), and not below 0.
func Series(values []float64) Group {
	r := min(max(lag1(values), 0), .95)
	return Group{Sample: analysis.Values(values), Inflation: (1 + r) / (1 - r)}
}

// lag1 returns the autocorrelation of neighbouring values with its bias removed; 0 for too few values or a constant.
func lag1(values []float64) float64 {
	var m analysis.Moments
	for _, v := range values {
		m.Add(v)
	}
	mean, _ := m.Mean()
	variance, ok := m.Variance()
	if n := m.Count(); !ok || variance <= 0 || n < 10 {
		return 0
	}
	sum := 0.
	for i := 1; i < len(values); i++ {
		if d := (values[i] - mean) * (values[i-1] - mean); !math.IsNaN(d) && !math.IsInf(d, 0) {
			sum += d
		}
	}
	n := m.Count()
	return (n*sum/((n-1)*variance) + 1) / (n - 3)
}

// effective returns how many independent values the group is worth.
func (g Group) effective() float64 { return g.Count() / max(g.Inflation, 1) }
