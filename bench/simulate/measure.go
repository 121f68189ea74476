package simulate

import (
	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// watched is the part of the sessions of which Measure learns the truth.
const watched = .4

// Measure plays a scenario with many seeds and tells how often the intervals of what the hold-back measures hold the truth: what the exchanges outside would have
// come to inside, in the same run, the targets being as loaded and as healthy as they are. That is known of a second group on the operator's settings, larger
// by far, that the optimizer's proof does not see, and whose costs are adjusted for the sizes of questions and answers, which the proof does not know either.
func Measure(s *Scenario, seeds int) (Coverage, error) {
	parts := make([]Coverage, seeds)
	err := each(seeds, func(i int) (err error) {
		parts[i], err = measured(s, uint64(i)+1) //nolint:gosec // small
		return err
	})
	var c Coverage
	for i := range parts {
		c.merge(&parts[i])
	}
	return c, err
}

func measured(s *Scenario, seed uint64) (c Coverage, err error) {
	var outside, inside fates
	w := newWorld(s, seed, newRun(s, Optimized, seed))
	w.watched = watched
	w.note = func(r *request, x *window.Exchange) {
		switch {
		case w.isWatched(r):
			inside.add(r, x)
		case policy.Arm(x.Arm) != policy.Holdback:
			outside.add(r, x)
		}
	}
	w.strategy = newOptimized(w)
	if err := w.play(); err != nil {
		return c, err
	}
	w.result.finish()
	if outside.n == 0 || inside.n == 0 {
		return c, nil
	}
	cost := inside.costAt(&outside)
	c.add(w.result, Truth{
		outside.n*cost - outside.cost, outside.bad/outside.n - inside.bad/inside.n, outside.wait/max(outside.waits, 1) - inside.wait/max(inside.waits, 1),
	}, outside.n*cost)
	c.close()
	return c, nil
}

// isWatched tells whether a request is of the group that the truth is learned of.
func (w *world) isWatched(r *request) bool {
	const fresh = 0x9e3779b97f4a7c15 // the hold-back goes by the hash itself, and is not of the group
	unit := func(hash uint64) float64 { return float64(hash>>11) / (1 << 53) }
	return w.watched > 0 && unit(r.session) >= w.Route.Holdback && unit(r.session*fresh) < w.watched
}

// fates are sums of what exchanges came to.
type fates struct {
	n, cost, bad, wait, waits float64
	sizes                     [2]float64    // input, output
	squares                   [2][2]float64 // of sizes
	sizeCosts                 [2]float64
}

func (f *fates) add(r *request, x *window.Exchange) {
	cost, sizes := float64(x.CostNanoUSD)/1e9, [2]float64{float64(r.input), float64(r.output)}
	f.n++
	f.cost += cost
	if x.Violation {
		f.bad++
	}
	if x.Wait > 0 {
		f.waits++
		f.wait += x.Wait.Seconds()
	}
	for i, v := range sizes {
		f.sizes[i] += v
		f.sizeCosts[i] += v * cost
		for k, o := range sizes {
			f.squares[i][k] += v * o
		}
	}
}

// costAt is the mean cost, were the sizes those of others: by linear regression on both.
func (f *fates) costAt(o *fates) float64 {
	var a [2][2]float64
	var b, off [2]float64
	for i := range b {
		b[i] = f.sizeCosts[i] - f.sizes[i]*f.cost/f.n
		off[i] = o.sizes[i]/o.n - f.sizes[i]/f.n
		for k := range b {
			a[i][k] = f.squares[i][k] - f.sizes[i]*f.sizes[k]/f.n
		}
	}
	cost := f.cost / f.n
	if d := a[0][0]*a[1][1] - a[0][1]*a[1][0]; d > 1e-6*a[0][0]*a[1][1] {
		cost += off[0]*(b[0]*a[1][1]-b[1]*a[0][1])/d + off[1]*(b[1]*a[0][0]-b[0]*a[1][0])/d
	}
	return cost
}
