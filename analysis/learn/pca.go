package learn

import (
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"llm-auto-optimizer/analysis"
)

// Component is a direction in which points vary.
type Component struct {
	Loadings  []float64 // of the features, a unit vector whose largest entry is positive
	Variance  float64   // along it
	Explained float64   // share of all variance, in [0, 1]
}

// PCA returns the principal components of points, [point][feature], with the most variance first. Features are centred, and scaled to
// deviation 1 if scale is true, a constant one staying 0. False for fewer than two points, points as refused by [NewKMeans], or if
// nothing varies. O(points features^2).
func PCA(points [][]float64, scale bool) ([]Component, bool) {
	if len(points) < 2 || !rectangular(points) {
		return nil, false
	}
	features := len(points[0])
	data := mat.NewDense(len(points), features, nil)
	for f := range features {
		var m analysis.Moments
		for _, p := range points {
			m.Add(p[f])
		}
		mean, _ := m.Mean()
		sd, _ := m.SD()
		if !scale || sd == 0 {
			sd = 1
		}
		for i, p := range points {
			data.Set(i, f, (p[f]-mean)/sd)
		}
	}
	var pc stat.PC
	if !pc.PrincipalComponents(data, nil) {
		return nil, false
	}
	variances := pc.VarsTo(nil)
	var vectors mat.Dense
	pc.VectorsTo(&vectors)
	total := 0.
	for _, v := range variances {
		total += v
	}
	if !(total > 0) {
		return nil, false
	}
	all := make([]Component, len(variances))
	for k, v := range variances {
		c := Component{Variance: v, Explained: v / total, Loadings: mat.Col(nil, k, &vectors)}
		largest := 0.
		for _, l := range c.Loadings {
			if math.Abs(l) > math.Abs(largest) {
				largest = l
			}
		}
		if largest < 0 {
			for i := range c.Loadings {
				c.Loadings[i] = -c.Loadings[i]
			}
		}
		all[k] = c
	}
	return all, true
}
