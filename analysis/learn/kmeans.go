package learn

import (
	"math"
	"math/rand/v2"
	"slices"
)

// KMeans holds the centres of k clusters.
type KMeans struct {
	Centres [][]float64 // [cluster][feature], in the order of their first feature
	Inertia float64     // sum of the squared distances of the points to their centre
}

const (
	lloydSteps = 100
	restarts   = 5
)

// NewKMeans clusters points, [point][feature], by Lloyd's algorithm from k-means++ seeds (Arthur and Vassilvitskii, SODA 2007), the
// best of five starts; the same for the same seed. Features should have like scales. A cluster that loses all points takes the one
// furthest from its centre. False for k < 1, fewer than k different points, features of different number, or one that is not finite.
// O(points k features) a step, at most 100 steps.
func NewKMeans(points [][]float64, k int, seed uint64) (best KMeans, ok bool) {
	if k < 1 || !rectangular(points) || countDifferent(points, k) < k {
		return best, false
	}
	best.Inertia = math.Inf(1)
	for i := range uint64(restarts) {
		if m := lloyd(points, k, rand.New(rand.NewPCG(seed, i))); m.Inertia < best.Inertia {
			best = m
		}
	}
	slices.SortFunc(best.Centres, slices.Compare)
	return best, true
}

func lloyd(points [][]float64, k int, draw *rand.Rand) KMeans {
	m := KMeans{Centres: plusPlus(points, k, draw)}
	belongs := make([]int, len(points))
	for step := range lloydSteps {
		moved := step == 0
		m.Inertia = 0
		for i, p := range points {
			at, d := m.nearest(p)
			m.Inertia += d
			if belongs[i] != at {
				belongs[i], moved = at, true
			}
		}
		if !moved {
			break
		}
		m.recentre(points, belongs)
	}
	return m
}

// plusPlus draws each next centre with a probability proportional to the squared distance from those there are.
func plusPlus(points [][]float64, k int, draw *rand.Rand) [][]float64 {
	m := KMeans{Centres: [][]float64{slices.Clone(points[draw.IntN(len(points))])}}
	for len(m.Centres) < k {
		total := 0.
		distances := make([]float64, len(points))
		for i, p := range points {
			_, distances[i] = m.nearest(p)
			total += distances[i]
		}
		u := draw.Float64() * total
		next := len(points) - 1
		for i, d := range distances {
			if u -= d; u < 0 {
				next = i
				break
			}
		}
		for distances[next] == 0 { // rounding may lead to a centre that is there
			next = (next + 1) % len(points)
		}
		m.Centres = append(m.Centres, slices.Clone(points[next]))
	}
	return m.Centres
}

func (m *KMeans) recentre(points [][]float64, belongs []int) {
	counts := make([]float64, len(m.Centres))
	sums := make([][]float64, len(m.Centres))
	for j := range sums {
		sums[j] = make([]float64, len(points[0]))
	}
	for i, p := range points {
		counts[belongs[i]]++
		for f, v := range p {
			sums[belongs[i]][f] += v
		}
	}
	for j := range m.Centres {
		if counts[j] == 0 {
			m.Centres[j] = slices.Clone(points[m.furthest(points)])
			continue
		}
		for f := range sums[j] {
			m.Centres[j][f] = sums[j][f] / counts[j]
		}
	}
}

func (m *KMeans) furthest(points [][]float64) (at int) {
	most := -1.
	for i, p := range points {
		if _, d := m.nearest(p); d > most {
			most, at = d, i
		}
	}
	return at
}

// Cluster returns the number of the centre nearest to p, which has as many features as the centres.
func (m *KMeans) Cluster(p []float64) int {
	at, _ := m.nearest(p)
	return at
}

func (m *KMeans) nearest(p []float64) (at int, distance float64) {
	distance = math.Inf(1)
	for j, c := range m.Centres {
		if d := squared(p, c); d < distance {
			at, distance = j, d
		}
	}
	return at, distance
}

func squared(a, b []float64) (d float64) {
	for i := range a {
		d += (a[i] - b[i]) * (a[i] - b[i])
	}
	return d
}

// rectangular says whether points have the same number of features, at least one, all finite.
func rectangular(points [][]float64) bool {
	for _, p := range points {
		if len(p) == 0 || len(p) != len(points[0]) {
			return false
		}
		for _, v := range p {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return false
			}
		}
	}
	return true
}

// countDifferent counts different points, up to limit.
func countDifferent(points [][]float64, limit int) int {
	var seen [][]float64
	for _, p := range points {
		if len(seen) >= limit {
			break
		}
		if !slices.ContainsFunc(seen, func(s []float64) bool { return slices.Equal(s, p) }) {
			seen = append(seen, p)
		}
	}
	return len(seen)
}
