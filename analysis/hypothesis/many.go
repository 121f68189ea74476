package hypothesis

import (
	"math"
	"slices"
)

// Adjusted returns the p-values adjusted for their number by Benjamini and Hochberg, "Controlling the false discovery rate" (JRSSB
// 1995): those at most q may be called discoveries with a false discovery rate of q, if tests are independent or positively
// dependent. NaN counts as 1. O(n log n).
func Adjusted(p []float64) []float64 {
	order := ascending(p)
	adjusted := make([]float64, len(p))
	least := 1.
	for i, at := range slices.Backward(order) {
		if v := p[at] * float64(len(p)) / float64(i+1); v < least { // never of NaN
			least = max(v, 0)
		}
		adjusted[at] = least
	}
	return adjusted
}

func ascending(p []float64) []int {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	at := func(i int) float64 {
		if math.IsNaN(p[i]) {
			return math.Inf(1)
		}
		return p[i]
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case at(i) < at(j):
			return -1
		case at(i) > at(j):
			return 1
		}
		return 0
	})
	return order
}

// Discoveries returns which e-values may be called discoveries with a false discovery rate of q, whatever their dependence: the e-BH
// procedure (Wang and Ramdas, "False discovery rate control with e-values", JRSSB 2022). NaN and negative ones count as 0. q is in
// (0, 1); outside nothing is discovered. O(n log n).
func Discoveries(e []float64, q float64) []bool {
	found := make([]bool, len(e))
	if !(q > 0 && q < 1) {
		return found
	}
	least := make([]float64, len(e)) // 1/e, as p-values are ordered
	for i, v := range e {
		least[i] = math.Inf(1)
		if v > 0 {
			least[i] = 1 / v
		}
	}
	order := ascending(least)
	last := -1
	for k, at := range order {
		if float64(k+1)*e[at] >= float64(len(e))/q { // the k-th largest
			last = k
		}
	}
	for _, at := range order[:last+1] {
		found[at] = true
	}
	return found
}

// EValue turns a p-value into an e-value: the average over all calibrators k p^(k-1), which is (1-p+p log p)/(p log(p)^2) (Vovk and
// Wang, "E-values: calibration, combination and applications", Annals of Statistics 2021, eq. 2). P-values outside of (0, 1] count as
// the nearest inside; NaN gives 0.
func EValue(p float64) float64 {
	if math.IsNaN(p) {
		return 0
	}
	p = min(max(p, 1e-300), 1)
	log := math.Log(p)
	if log > -1e-4 { // the limit at 1, where the quotient loses its digits
		return .5 - log/6
	}
	return (1 - p + p*log) / (p * log * log)
}
