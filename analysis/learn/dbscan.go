package learn

import (
	"math"
	"slices"
)

// DBSCAN holds clusters of any number and shape: points with enough neighbours, and what is near them.
type DBSCAN struct {
	Labels   []int // of the points it was made from; -1 for noise
	Clusters int
	reach    float64
	core     [][]float64
	coreOf   []int // cluster of each core point
}

// MostPoints is how many points [NewDBSCAN] takes: it looks at all pairs.
const MostPoints = 2000

// NewDBSCAN clusters points, [point][feature], by density (Ester, Kriegel, Sander and Xu, KDD 1996): a point with at least enough
// points, itself among them, within reach is a core, cores within reach of each other are one cluster, as are their neighbours. False
// for no points or more than 2,000, a reach that is not positive, or points as refused by [NewKMeans]. O(points^2 features).
func NewDBSCAN(points [][]float64, reach float64, enough int) (*DBSCAN, bool) {
	if len(points) == 0 || len(points) > MostPoints || !rectangular(points) || !(reach > 0) {
		return nil, false
	}
	d := &DBSCAN{Labels: slices.Repeat([]int{-1}, len(points)), reach: reach}
	near := func(i int) (all []int) {
		for j, p := range points {
			if squared(points[i], p) <= reach*reach {
				all = append(all, j)
			}
		}
		return all
	}
	visited := make([]bool, len(points))
	for i := range points {
		if visited[i] {
			continue
		}
		visited[i] = true
		queue := near(i)
		if len(queue) < enough {
			continue
		}
		d.addCore(points[i], i)
		for ; len(queue) > 0; queue = queue[1:] {
			j := queue[0]
			if d.Labels[j] < 0 {
				d.Labels[j] = d.Clusters
			}
			if visited[j] {
				continue
			}
			visited[j] = true
			if more := near(j); len(more) >= enough {
				d.addCore(points[j], j)
				queue = append(queue, more...)
			}
		}
		d.Clusters++
	}
	return d, true
}

func (d *DBSCAN) addCore(p []float64, i int) {
	d.Labels[i] = d.Clusters
	d.core = append(d.core, p)
	d.coreOf = append(d.coreOf, d.Clusters)
}

// Cluster returns the cluster of the nearest core within reach of p, or -1. O(cores).
func (d *DBSCAN) Cluster(p []float64) int {
	best, at := d.reach*d.reach, -1
	for i, c := range d.core {
		if s := squared(p, c); s <= best {
			best, at = s, d.coreOf[i]
		}
	}
	return at
}

// reachFor returns the reach at which half of the points have enough neighbours: the median distance to the neighbour of that rank, twice.
func reachFor(points [][]float64, enough int) float64 {
	var all []float64
	for i := range points {
		distances := make([]float64, len(points))
		for j := range points {
			distances[j] = squared(points[i], points[j])
		}
		slices.Sort(distances)
		all = append(all, math.Sqrt(distances[min(enough, len(distances)-1)]))
	}
	slices.Sort(all)
	return 2 * all[len(all)/2]
}
