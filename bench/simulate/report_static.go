package simulate

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Names of the best static mixes in hindsight.
const (
	BestStatic = "best static"               // with retries elsewhere
	BestFixed  = "best static with reflexes" // and with our ejection
)

// staticMixes are the prefixes of the strategies that the mixes run with.
var staticMixes = map[string]string{BestStatic: noReflexPrefix, BestFixed: fixedPrefix}

// limits end a run that can't be of use any more.
type limits struct{ violations, cost float64 }

var errPassed = errors.New("limits passed")

func (l *limits) passed(r *Run) bool {
	return l != nil && (float64(r.Violations) > l.violations || r.Cost > l.cost)
}

// noise is how many more violations a static mix is allowed, in parts of what the objective allows: so few are luck.
const noise = .05

// search looks for the cheapest static mix with no more violations than allowed, for one seed: on a grid, in the order of what mixes cost while nothing fails,
// then in ever smaller steps about the best.
type search struct {
	s      *Scenario
	seed   uint64
	prefix string
	most   float64   // violations
	unit   []float64 // what an exchange costs at each target, in US dollars
	best   staticMix
	cost   float64 // of the best, US dollars
	tried  map[string]bool
}

type staticMix struct {
	found  bool
	shares []float64
	score  Score
}

func newSearch(s *Scenario, seed uint64, prefix string, violations float64) *search {
	x := &search{s: s, seed: seed, prefix: prefix, cost: math.Inf(1), tried: map[string]bool{}}
	unit, n := unitCosts(s, seed)
	x.unit = unit
	x.most = (violations + noise*s.Route.Errors) * n
	return x
}

// unitCosts are what an exchange costs at each target, the mean over all arrivals at the prices of their time, and how many there are.
func unitCosts(s *Scenario, seed uint64) (unit []float64, n float64) {
	unit = make([]float64, len(s.Targets))
	w := &world{Scenario: s, seed: seed}
	next, stop, err := w.arrivals()
	if err != nil {
		return unit, 0
	}
	defer stop()
	for r, more := next(); more && r.at < s.For; r, more = next() {
		n++
		for i := range s.Targets {
			t, factor := &s.Targets[i], 1.
			for k := range s.Events {
				if e := &s.Events[k]; e.What == "price" && e.Target == i && r.at >= e.At && r.at < e.end(s.For) {
					factor = e.Value
				}
			}
			unit[i] += factor * (float64(r.input)*t.In + float64(r.output)*t.Out) / 1e6
		}
	}
	for i := range unit {
		unit[i] /= max(n, 1)
	}
	return unit, n
}

// expected is what an exchange costs with a mix while nothing fails.
func (x *search) expected(mix []float64) (cost float64) {
	for i, share := range mix {
		cost += share * x.unit[i]
	}
	return cost
}

// slack is how much less than expected a mix may cost: failures move traffic.
const slack = .03

func (x *search) run() staticMix {
	var grid [][]float64
	for _, text := range Mixes(len(x.s.Targets)) {
		if mix, err := sharesOf(text, len(x.s.Targets)); err == nil {
			grid = append(grid, mix)
		}
	}
	slices.SortStableFunc(grid, func(a, b []float64) int {
		if x.expected(a) < x.expected(b) {
			return -1
		}
		return 1
	})
	for _, mix := range grid {
		if x.best.found && x.expected(mix) > x.expected(x.best.shares)*(1+slack) {
			break
		}
		x.try(mix)
	}
	for step := .05; x.best.found && step > .01; step /= 2 {
		for range 4 {
			if !x.refine(step) {
				break
			}
		}
	}
	return x.best
}

// refine moves a step of the traffic from dearer to cheaper targets. It tells whether that was of use.
func (x *search) refine(step float64) (better bool) {
	for from := range x.unit {
		for to := range x.unit {
			if x.unit[to] >= x.unit[from] || x.best.shares[from] == 0 {
				continue
			}
			mix := slices.Clone(x.best.shares)
			d := min(step, mix[from])
			mix[from], mix[to] = mix[from]-d, mix[to]+d
			better = x.try(mix) || better
		}
	}
	return better
}

// try runs a mix, and keeps it if it is the best so far.
func (x *search) try(mix []float64) (better bool) {
	parts := make([]string, len(mix))
	for i, share := range mix {
		switch {
		case x.s.Targets[i].Weight == 0 && share > 1e-9:
			return false // an operator wants nothing sent there
		case x.s.Targets[i].Weight > 0:
			share = max(share, 1e-6) // what is not chosen at first may take what others refuse
		}
		parts[i] = strconv.FormatFloat(share, 'g', 6, 64)
	}
	text := strings.Join(parts, "/")
	if x.tried[text] {
		return false
	}
	x.tried[text] = true
	r, err := playOne(x.s, x.prefix+text, x.seed, &limits{x.most, x.cost})
	if err != nil || r == nil || float64(r.Violations) > x.most || r.Cost >= x.cost {
		return false
	}
	x.cost = r.Cost
	x.best = staticMix{true, mix, scoreOf(r)}
	x.best.score.Mix = text
	return true
}
