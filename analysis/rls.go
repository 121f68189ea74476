package analysis

import "math"

// RLS follows the line y = a + b x through points that come one at a time, newer ones weighing more: recursive least squares with
// exponential forgetting (Ljung, "System Identification", 2nd ed., 1999, section 11.2). It takes the size out of a measure: the log
// of a time to first token on the log of the uncached input tokens. O(1) a point, no allocation.
type RLS struct {
	forget float64
	a, b   float64
	paa    float64 // covariance of a and b, in variances of the noise
	pab    float64
	pbb    float64
	n      int
}

const (
	rlsForget = .999
	rlsUnsure = 1e6 // variance of the coefficients before any point, and the most that forgetting may bring back
)

// NewRLS returns an RLS that has seen nothing and forgets at .999 a point.
func NewRLS() *RLS { return &RLS{forget: rlsForget, paa: rlsUnsure, pbb: rlsUnsure} }

// Predict returns the value at x.
func (r *RLS) Predict(x float64) float64 { return r.a + r.b*x }

// Line returns intercept and slope, and the number of points they come from.
func (r *RLS) Line() (intercept, slope float64, n int) { return r.a, r.b, r.n }

// Step returns y minus the prediction at x from the points before, and then learns from the point. A point that is not finite
// changes nothing and has residual 0. With a single x ever seen, the line is level there.
func (r *RLS) Step(x, y float64) (residual float64) {
	if math.IsNaN(x+y) || math.IsInf(x, 0) || math.IsInf(y, 0) {
		return 0
	}
	residual = y - r.Predict(x)
	// gain = P [1 x]' / (forget + [1 x] P [1 x]')
	ua, ub := r.paa+r.pab*x, r.pab+r.pbb*x
	scale := 1 / (r.forget + ua + x*ub)
	ka, kb := ua*scale, ub*scale
	r.a += ka * residual
	r.b += kb * residual
	forget := r.forget
	if r.paa > rlsUnsure || r.pbb > rlsUnsure { // inputs that do not vary would let the covariance grow without bound
		forget = 1
	}
	r.paa = (r.paa - ka*ua) / forget
	r.pab = (r.pab - ka*ub) / forget
	r.pbb = (r.pbb - kb*ub) / forget
	r.n++
	return residual
}
