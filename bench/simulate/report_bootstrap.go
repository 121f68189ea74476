package simulate

import (
	"math/rand/v2"
	"slices"
)

// resamples is how many a bootstrap interval is of.
const resamples = 2000

// bootstrap is the 95 % percentile interval of a statistic of pairs, drawn in two stages: scenarios, then seeds within each (Davison and Hinkley, Bootstrap
// Methods and their Application, 1997, section 3.8), so that many seeds of few scenarios don't pass for many scenarios. groups are the pairs of each scenario.
func bootstrap(groups [][]int, statistic func(of []int) float64) (low, high float64) {
	if len(groups) == 0 {
		return 0, 0
	}
	draw := rand.New(rand.NewPCG(1, 0xb007)) //nolint:gosec // no secret
	values := make([]float64, resamples)
	var of []int
	for i := range values {
		of = of[:0]
		for range groups {
			g := groups[draw.IntN(len(groups))]
			for range g {
				of = append(of, g[draw.IntN(len(g))])
			}
		}
		values[i] = statistic(of)
	}
	slices.Sort(values)
	return values[resamples*25/1000], values[resamples*975/1000-1]
}
