package regime

import "math"

// normalScore is the quantile of the standard normal distribution at a mid-rank among n values, with half a value at either end.
// Independent values of whatever distribution have the same scores, which is why one table of thresholds serves them all.
func normalScore(rank float64, n int) float64 {
	return math.Sqrt2 * math.Erfinv(2*(rank+.5)/float64(n+1)-1)
}
