package simulate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"llm-auto-optimizer/analysis/learn"
	"llm-auto-optimizer/proxy/policy"
)

// Clairvoyant is the name of the strategy that knows all parameters and events, and needs no time to see them.
const Clairvoyant = "clairvoyant"

// fixedPrefix begins the names of strategies with other shares than the scenario's: fixed:0.5/0.3/0.2. With noReflexPrefix they have no reflexes either: an
// exchange that fails is repeated elsewhere, and that is all.
const (
	fixedPrefix    = "fixed:"
	noReflexPrefix = "static:"
)

func sharesOf(text string, n int) ([]float64, error) {
	parts := strings.Split(text, "/")
	if len(parts) != n {
		return nil, fmt.Errorf("shares %q: want %d", text, n)
	}
	shares := make([]float64, n)
	for i, part := range parts {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || !(v >= 0) {
			return nil, fmt.Errorf("shares %q: got %q, want a number from 0 on", text, part)
		}
		shares[i] = v
	}
	return shares, nil
}

// weigh gives the targets their shares.
func (p *production) weigh(shares []float64) {
	r := p.policy.Routes[p.w.Route.Name]
	static := r.Parameters
	if r.Static != nil {
		static = *r.Static
	}
	r.Static = &static
	r.Parameters.Targets = map[string]policy.Target{}
	for i := range p.w.Targets {
		s := shares[i]
		r.Parameters.Targets[p.w.Targets[i].Name] = policy.Target{Weights: [policy.Classes]float64{s, s, s}}
	}
	p.policy = &policy.Snapshot{Version: p.policy.Version + 1, Routes: map[string]policy.Route{p.w.Route.Name: r}}
}

// clairvoyant is the production strategy with the shares that are best at each moment.
type clairvoyant struct {
	*production
	next    time.Duration
	demands []demand // of a trace, by the minute
}

func newClairvoyant(w *world) strategy {
	c := &clairvoyant{production: newProduction(w).(*production)} //nolint:forcetypeassert // it makes nothing else
	c.demands = w.demands()
	c.weigh(c.best())
	return c
}

func (c *clairvoyant) tick(now time.Time) {
	c.production.tick(now)
	if c.w.now >= c.next {
		c.next = c.w.now + time.Second
		c.weigh(c.best())
	}
}

// headroom is how much of a target's capacity the clairvoyant uses: arrivals are random.
const headroom = .9

// best is the mix with the lowest expected cost within the objective, and within the capacities; without one, that with the fewest violations.
func (c *clairvoyant) best() []float64 {
	w := c.w
	n := len(w.targets)
	d := c.demand()
	input, output := d.input, d.output
	cost, bad, most := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range w.targets {
		t := &w.targets[i]
		cost[i] = t.price * (input*t.In + output*t.Out) / 1e6
		bad[i], most[i] = t.violations(w.Route.SLO, input), 1
		rate := math.Inf(1)
		if t.Concurrency > 0 {
			rate = headroom * float64(t.Concurrency) / (t.median(input)*t.slower + float64(t.TPOT)*output) * float64(time.Second)
		}
		if t.quota > 0 {
			rate = min(rate, headroom*t.quota/60)
		}
		if t.black || t.hang || t.errors > .02 {
			rate = 0
		}
		if d.rate > 0 {
			most[i] = min(1, rate/d.rate)
		}
		if t.Weight == 0 {
			most[i] = 0
		}
	}
	ones := make([]float64, n)
	for i := range ones {
		ones[i] = 1
	}
	p := learn.Programme{Cost: cost, Low: make([]float64, n), High: most, Constraints: []learn.Constraint{
		{Coefficients: ones, Relation: learn.Equal, Limit: 1}, {Coefficients: bad, Relation: learn.AtMost, Limit: w.Route.Errors},
	}}
	shares, _, err := learn.Minimise(p)
	if err != nil {
		p.Cost, p.Constraints = bad, p.Constraints[:1]
		shares, _, err = learn.Minimise(p)
	}
	if err != nil { // more traffic than all of them can take
		shares = most
	}
	for i, s := range shares { // what is out now has a weight for when it is back
		shares[i] = max(s, 1e-6)
	}
	return shares
}

// median is the time to first token of an answer to so much input while nothing is wrong, in nanoseconds.
func (t *targetState) median(input float64) float64 {
	return float64(t.TTFT) + float64(t.Prefill)*input/1000
}

// violations is the probability that a target without failures begins later than the objective.
func (t *targetState) violations(slo time.Duration, input float64) float64 {
	if slo == 0 {
		return 0
	}
	late := func(slower float64) float64 {
		z := math.Log(float64(slo)/(t.median(input)*t.slower*slower)) / max(t.Sigma, 1e-9)
		return math.Erfc(z/math.Sqrt2) / 2
	}
	return (1-t.Stragglers)*late(1) + t.Stragglers*late(max(t.StragglerBy, 1))
}

func mean(median, sigma float64) float64 { return median * math.Exp(sigma*sigma/2) }

// Mixes are shares of n targets on a grid: steps of a tenth for two and three targets, a fifth for more, and nearly all for each.
func Mixes(n int) []string {
	steps := 10
	if n > 3 {
		steps = 5
	}
	var mixes []string
	left := make([]int, n)
	var fill func(i, rest int)
	fill = func(i, rest int) {
		if i == n-1 {
			left[i] = rest
			parts := make([]string, n)
			for k, v := range left {
				parts[k] = strconv.FormatFloat(float64(v)/float64(steps), 'g', -1, 64)
			}
			mixes = append(mixes, strings.Join(parts, "/"))
			return
		}
		for v := 0; v <= rest; v++ {
			left[i] = v
			fill(i+1, rest-v)
		}
	}
	fill(0, steps)
	return mixes
}
