package learn

import (
	"fmt"
	"math"
	"slices"

	"llm-auto-optimizer/analysis"
)

// Request is what a request's class is told from, and what classes are for: requests of a class should take about as long.
type Request struct {
	Input   float64 // uncached input tokens
	Output  float64 // predicted output tokens
	Seconds float64 // what it took
}

// Classifier tells the class of a request from its sizes.
type Classifier interface {
	// Class returns a number from 0 to Classes-1; with fixed cuts 0 is light, 1 medium, 2 heavy.
	Class(input, output float64) int
	Classes() int
	fmt.Stringer
}

// Cuts are fixed limits: light is below both first ones, heavy above either second one.
type Cuts struct{ Input, Output [2]float64 }

// NewCuts puts the limits at the median and at the 90 % quantile of either size. False for fewer than ten requests.
func NewCuts(requests []Request) (c Cuts, ok bool) {
	input, output := make([]float64, len(requests)), make([]float64, len(requests))
	for i, r := range requests {
		input[i], output[i] = r.Input, r.Output
	}
	for i, q := range []float64{.5, .9} {
		c.Input[i], _ = analysis.Values(input).Quantile(q)
		c.Output[i], _ = analysis.Values(output).Quantile(q)
	}
	return c, len(requests) >= 10
}

// Class tells light, medium and heavy.
func (c Cuts) Class(input, output float64) int {
	switch {
	case input > c.Input[1] || output > c.Output[1]:
		return 2
	case input > c.Input[0] || output > c.Output[0]:
		return 1
	}
	return 0
}

// Classes returns 3.
func (c Cuts) Classes() int { return 3 }

func (c Cuts) String() string {
	return fmt.Sprintf("input %.4g and %.4g, output %.4g and %.4g tokens", c.Input[0], c.Input[1], c.Output[0], c.Output[1])
}

// space scales the logarithms of the sizes to mean 0 and deviation 1.
type space struct{ mean, sd [2]float64 }

func newSpace(requests []Request) (s space) {
	var m [2]analysis.Moments
	for _, r := range requests {
		m[0].Add(math.Log1p(max(r.Input, 0)))
		m[1].Add(math.Log1p(max(r.Output, 0)))
	}
	for i := range m {
		s.mean[i], _ = m[i].Mean()
		if s.sd[i], _ = m[i].SD(); s.sd[i] == 0 {
			s.sd[i] = 1
		}
	}
	return s
}

func (s space) point(input, output float64) []float64 {
	return []float64{(math.Log1p(max(input, 0)) - s.mean[0]) / s.sd[0], (math.Log1p(max(output, 0)) - s.mean[1]) / s.sd[1]}
}

type clustered struct {
	space
	kmeans *KMeans
	dbscan *DBSCAN
}

func (c clustered) Class(input, output float64) int {
	if c.kmeans != nil {
		return c.kmeans.Cluster(c.point(input, output))
	}
	return c.dbscan.Cluster(c.point(input, output)) + 1 // noise is a class too
}

func (c clustered) Classes() int {
	if c.kmeans != nil {
		return len(c.kmeans.Centres)
	}
	return c.dbscan.Clusters + 1
}

func (c clustered) String() string {
	return fmt.Sprintf("%s with %d classes", map[bool]string{true: "k-means", false: "DBSCAN"}[c.kmeans != nil], c.Classes())
}

const (
	classCount    = 3
	mostClasses   = 6
	denseEnough   = 10  // neighbours
	adoptAt       = .95 // of the variance within fixed cuts
	leastRequests = 200
)

// Choose returns the fixed cuts, or k-means or DBSCAN where that lowers the variance of the logarithm of Seconds within classes, on
// requests that it was not made from (every second one), by at least 5 %. The reason says how they compare. The same for the same
// seed. Requests with a size or time that is not positive and finite are left out. False for fewer than 200.
func Choose(requests []Request, seed uint64) (Classifier, analysis.Reason, bool) {
	var train, held []Request
	for _, r := range requests {
		if !(r.Input >= 0 && r.Output >= 0 && r.Seconds > 0) || math.IsInf(r.Input+r.Output+r.Seconds, 0) {
			continue
		}
		if len(train) > len(held) {
			held = append(held, r)
		} else {
			train = append(train, r)
		}
	}
	if len(train)+len(held) < leastRequests {
		return nil, analysis.Reason{}, false
	}
	cuts, _ := NewCuts(train)
	usual := variance(cuts, held)
	best, least := Classifier(cuts), math.Inf(1)
	for _, c := range candidates(train, seed) {
		if v := variance(c, held); v < least {
			best, least = c, v
		}
	}
	share := 1.
	if usual > 0 && !math.IsInf(least, 1) {
		share = least / usual
	}
	reason := analysis.Reason{
		Method:    "workload classes",
		Statistic: "variance within classes by that within fixed cuts",
		Value:     share,
		Threshold: adoptAt,
		Below:     true,
		Effect:    best.String(),
		Baseline:  analysis.Baseline{Count: len(held), Level: usual},
	}
	if !reason.Fired() {
		return cuts, reason, true
	}
	return best, reason, true
}

func candidates(train []Request, seed uint64) (all []Classifier) {
	s := newSpace(train)
	points := make([][]float64, len(train))
	for i, r := range train {
		points[i] = s.point(r.Input, r.Output)
	}
	if m, ok := NewKMeans(points, classCount, seed); ok {
		all = append(all, clustered{space: s, kmeans: &m})
	}
	step := (len(points) + MostPoints/2 - 1) / (MostPoints / 2)
	var some [][]float64
	for i := 0; i < len(points); i += step {
		some = append(some, points[i])
	}
	if d, ok := NewDBSCAN(some, reachFor(some, denseEnough), denseEnough); ok && d.Clusters > 1 && d.Clusters < mostClasses {
		all = append(all, clustered{space: s, dbscan: d})
	}
	return all
}

// variance is that of the logarithm of Seconds about its class's mean.
func variance(c Classifier, requests []Request) float64 {
	classes := make([]analysis.Moments, c.Classes())
	for _, r := range requests {
		classes[c.Class(r.Input, r.Output)].Add(math.Log(r.Seconds))
	}
	sum := 0.
	for _, m := range classes {
		if v, ok := m.Variance(); ok {
			sum += v * (m.Count() - 1)
		}
	}
	return sum / float64(max(len(requests)-len(slices.DeleteFunc(classes, func(m analysis.Moments) bool { return m.Count() == 0 })), 1))
}
