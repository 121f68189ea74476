package analysis

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// Line is a least-squares line, gathered one point at a time and mergeable. The zero value is empty. O(1) a point.
type Line struct {
	x, y  Moments
	cross float64 // sum of products of the deviations
}

// Add takes the point in; one that is not finite changes nothing.
func (l *Line) Add(x, y float64) {
	if math.IsNaN(x+y) || math.IsInf(x, 0) || math.IsInf(y, 0) {
		return
	}
	l.Merge(&Line{x: Moments{count: 1, mean: x, low: x, high: x}, y: Moments{count: 1, mean: y, low: y, high: y}})
}

// Merge adds o, which stays as it is.
func (l *Line) Merge(o *Line) {
	if n := l.x.count + o.x.count; n > 0 {
		l.cross += o.cross + (o.x.mean-l.x.mean)*(o.y.mean-l.y.mean)*l.x.count*o.x.count/n
	}
	l.x.Merge(&o.x)
	l.y.Merge(&o.y)
}

// LineFit is what a [Line] says.
type LineFit struct {
	Intercept, Slope float64
	SlopeError       float64 // standard error; 0 for a perfect fit
	Residual         float64 // standard deviation about the line, with n-2 degrees of freedom
	R2               float64 // share of the variance of y explained, in [0, 1]; 1 if y is constant
	Count            float64
}

// Fit returns the line; false for fewer than three points or a single x.
func (l *Line) Fit() (LineFit, bool) {
	n := l.x.count
	if n < 3 || l.x.m2 <= 0 {
		return LineFit{}, false
	}
	f := LineFit{Slope: l.cross / l.x.m2, R2: 1, Count: n}
	f.Intercept = l.y.mean - f.Slope*l.x.mean
	rest := max(0, l.y.m2-f.Slope*l.cross)
	f.Residual = math.Sqrt(rest / (n - 2))
	f.SlopeError = f.Residual / math.Sqrt(l.x.m2)
	if l.y.m2 > 0 {
		f.R2 = 1 - rest/l.y.m2
	}
	return f, true
}

// MaxDegree is the highest degree that [Polynomial] fits.
const MaxDegree = 5

// Polynomial returns the coefficients, that of x^0 first, of the least-squares polynomial through the points, by QR decomposition
// of x scaled to [-1, 1]. It is false where degree is outside of [0, 5], lengths differ, or there are not more different x than
// degree. Points that are not finite are left out. O(n degree^2).
func Polynomial(x, y []float64, degree int) ([]float64, bool) {
	if degree < 0 || degree > MaxDegree || len(x) != len(y) {
		return nil, false
	}
	var xs, ys []float64
	var spread Moments
	for i := range x {
		if !math.IsNaN(x[i]+y[i]) && !math.IsInf(x[i], 0) && !math.IsInf(y[i], 0) {
			xs, ys = append(xs, x[i]), append(ys, y[i])
			spread.Add(x[i])
		}
	}
	if different(xs, degree+1) <= degree {
		return nil, false
	}
	low, high, _ := spread.Range()
	middle, half := low+(high-low)/2, (high-low)/2
	if half == 0 {
		half = 1
	}
	design := mat.NewDense(len(xs), degree+1, nil)
	for i, v := range xs {
		for j, p := 0, 1.; j <= degree; j, p = j+1, p*(v-middle)/half {
			design.Set(i, j, p)
		}
	}
	var scaled mat.VecDense
	if err := scaled.SolveVec(design, mat.NewVecDense(len(ys), ys)); err != nil {
		return nil, false
	}
	return unscale(scaled.RawVector().Data, middle, half), true
}

// different counts the different values, up to a limit.
func different(values []float64, limit int) int {
	seen := make(map[float64]bool, limit)
	for _, v := range values {
		if seen[v] = true; len(seen) >= limit {
			break
		}
	}
	return len(seen)
}

// unscale turns a polynomial in (x-middle)/half into one in x, by Horner's scheme.
func unscale(scaled []float64, middle, half float64) []float64 {
	plain := make([]float64, len(scaled))
	for i := len(scaled) - 1; i >= 0; i-- {
		for j := len(plain) - 1; j > 0; j-- { // times (x-middle)/half, and the next coefficient
			plain[j] = (plain[j-1] - middle*plain[j]) / half
		}
		plain[0] = -middle*plain[0]/half + scaled[i]
	}
	return plain
}
