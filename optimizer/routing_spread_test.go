package optimizer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Whatever the programme says, spreading keeps what the group gets, bounds, capacities and budgets, and leaves targets that are like no other alone.
func TestRouting_SpreadKeepsEverything(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(5, 6))
	spreads := 0
	for round := range 4000 {
		tuner := DefaultRouting
		if draw.IntN(2) == 0 {
			tuner.MinShare, tuner.MaxShare = .05, .7
		}
		var list []known
		for i := range 2 + draw.IntN(5) {
			k := known{name: string(rune('a' + i)), weight: 1, static: float64(draw.IntN(4)) + .5*draw.Float64(), count: 500 + 5000*draw.Float64(), unit: 1e-6 * (1 + draw.Float64())}
			if k.violating = k.count * .01 * draw.Float64(); draw.IntN(4) == 0 {
				k.violating *= 10
			}
			if draw.IntN(2) == 0 {
				k.capacity = 5 + 30*draw.Float64()
			}
			list = append(list, k)
		}
		e := evidenceOf(list...)
		for i := range e.Targets {
			e.Targets[i].Like = []string{"", "x", "y"}[draw.IntN(3)]
		}
		m, why := tuner.mixOf(e)
		if why != "" {
			continue
		}
		x, err := tuner.programme(m, m.costs, rules{true, true, true})
		if err != nil {
			continue
		}
		var before, after [classes][]float64
		n := len(m.open)
		for c := range before {
			before[c] = append([]float64(nil), x[c*n:c*n+n]...)
			after[c] = append([]float64(nil), before[c]...)
		}
		tuner.spread(m, after)
		for c := range after {
			sum := 0.
			for i, share := range after[c] {
				sum += share
				if like := e.Targets[m.open[i]].Like; share < tuner.low(m, c, i)-1e-6 || share > tuner.high(m, c, i)+1e-6 || like == "" && share != before[c][i] {
					t.Fatalf("round %d: class %d, target %d (%q) has %v, %v before", round, c, i, like, share, before[c][i])
				}
				if math.Abs(share-before[c][i]) > .01 {
					spreads++
				}
			}
			if math.Abs(sum-1) > 1e-6 {
				t.Fatalf("round %d: class %d adds up to %v", round, c, sum)
			}
			if v := m.violating(c, after); m.budget[c] > 0 && v > max(m.budget[c], m.violating(c, before))+1e-6 {
				t.Fatalf("round %d: class %d violates %v of %v, %v before", round, c, v, m.budget[c], m.violating(c, before))
			}
		}
		for _, group := range m.alike() {
			for c := range after {
				was, is := 0., 0.
				for _, i := range group {
					was, is = was+before[c][i], is+after[c][i]
				}
				if math.Abs(was-is) > 1e-6 {
					t.Fatalf("round %d: a group has %v of class %d, %v before", round, is, c, was)
				}
			}
		}
		for i, at := range m.open {
			if capacity := e.Targets[at].Capacity; capacity > 0 && m.load(i, after) > max(capacity, m.load(i, before))*(1+1e-6) {
				t.Fatalf("round %d: %s gets %v of %v, %v before", round, e.Targets[at].Name, m.load(i, after), capacity, m.load(i, before))
			}
		}
	}
	if spreads < 500 {
		t.Errorf("%d shares were spread: nothing was tested", spreads)
	}
}
