package regime

import (
	"math"

	"gonum.org/v1/gonum/stat"
)

// RunLength keeps the probability of every age of the present regime: Bayesian online changepoint detection (Adams and MacKay,
// arXiv 0710.3742, 2007) with normal values of unknown mean and variance, the conjugate normal-gamma prior, and a constant hazard.
// It dates a change that another detector found; it raises no alarm. A step takes O(runs kept) and allocates nothing. It is
// deterministic and not safe for concurrent use.
type RunLength struct {
	hazard float64
	prior  normalGamma
	runs   []run // by length, ascending
	spare  []run
}

const (
	runHazard = 1. / 500
	runsKept  = 200
)

type run struct {
	length      int
	probability float64
	belief      normalGamma
}

// normalGamma is the belief about mean and precision after the values of a run (Murphy, "Conjugate Bayesian analysis of the
// Gaussian distribution", 2007).
type normalGamma struct{ mean, kappa, alpha, beta float64 }

// NewRunLength returns a RunLength that expects values about mean with this standard deviation, with the weight of one value. A
// standard deviation that is not positive counts as 1.
func NewRunLength(mean, sd float64) *RunLength {
	if !(sd > 0) {
		sd = 1
	}
	prior := normalGamma{mean: mean, kappa: 1, alpha: 1, beta: sd * sd}
	r := &RunLength{hazard: runHazard, prior: prior, runs: make([]run, 0, runsKept+1), spare: make([]run, 0, runsKept+1)}
	r.runs = append(r.runs, run{0, 1, prior})
	return r
}

// Step takes v in and returns the most likely number of values since the last change and its probability. NaN and infinite values
// change nothing. Of more than 200 run lengths the least likely is dropped.
func (r *RunLength) Step(v float64) (length int, probability float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		r.step(v)
	}
	best := r.runs[0]
	for _, one := range r.runs {
		if one.probability > best.probability {
			best = one
		}
	}
	return best.length, best.probability
}

func (r *RunLength) step(v float64) {
	total, ended := 0., 0.
	next := r.spare[:0]
	next = append(next, run{0, 0, r.prior})
	for _, old := range r.runs {
		p := old.probability * old.belief.density(v)
		ended += p * r.hazard
		next = append(next, run{old.length + 1, p * (1 - r.hazard), old.belief.after(v)})
		total += p
	}
	next[0].probability = ended
	if !(total > 0) { // v is beyond every belief: begin again with it
		next = append(next[:0], run{0, 1, r.prior})
		total = 1
	}
	for i := range next {
		next[i].probability /= total
	}
	if len(next) > runsKept {
		next = dropLeast(next)
	}
	r.runs, r.spare = next, r.runs
}

func dropLeast(runs []run) []run {
	least := 0
	for i, one := range runs {
		if one.probability < runs[least].probability {
			least = i
		}
	}
	return append(runs[:least], runs[least+1:]...)
}

// density is the posterior predictive: Student's t with 2 alpha degrees of freedom.
func (b normalGamma) density(v float64) float64 {
	nu := 2 * b.alpha
	scale2 := b.beta * (b.kappa + 1) / (b.alpha * b.kappa)
	d := v - b.mean
	up, _ := math.Lgamma((nu + 1) / 2)
	down, _ := math.Lgamma(nu / 2)
	return math.Exp(up - down - math.Log(nu*math.Pi*scale2)/2 - (nu+1)/2*math.Log1p(d*d/(nu*scale2)))
}

func (b normalGamma) after(v float64) normalGamma {
	d := v - b.mean
	return normalGamma{
		mean:  b.mean + d/(b.kappa+1),
		kappa: b.kappa + 1,
		alpha: b.alpha + .5,
		beta:  b.beta + b.kappa*d*d/(2*(b.kappa+1)),
	}
}

// Date returns where in values, a finished series, BOCPD sees the last change: the index at which the present run began, and the
// probability of that run length. It is false for fewer than six values or a constant.
func Date(values []float64) (start int, probability float64, ok bool) {
	mean, sd := stat.MeanStdDev(values, nil)
	if len(values) < 2*shortest || !(sd > 0) {
		return 0, 0, false
	}
	r := NewRunLength(mean, sd)
	length := 0
	for _, v := range values {
		length, probability = r.Step(v)
	}
	return len(values) - length, probability, true
}
