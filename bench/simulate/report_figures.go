package simulate

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// Figure is one number of a report and what it should be.
type Figure struct {
	Metric string  `json:"metric"`
	Limit  float64 `json:"target"` // at most
	Got    float64 `json:"got"`
	Low    float64 `json:"low"` // 95 % interval
	High   float64 `json:"high"`
	Unit   string  `json:"unit"`
	Met    bool    `json:"met"`
	Of     int     `json:"of"` // pairs of scenario and seed, seeds, or days
	Note   string  `json:"note,omitempty"`
}

// Table is what the policies made of all cases of a kind.
type Table struct {
	Kind      string `json:"kind"`
	Scenarios int    `json:"scenarios"`
	Pairs     int    `json:"pairs"`
	Rows      []Row  `json:"rows"`
}

// Row is a policy.
type Row struct {
	Policy string  `json:"policy"`
	Pairs  int     `json:"pairs"` // that it is of: a static mix need not exist
	Cost   float64 `json:"cost"`  // of that of the clairvoyant, geometric mean
	Low    float64 `json:"cost_low"`
	High   float64 `json:"cost_high"`
	Score          // means
}

// pool is the pairs of a kind.
type pool struct {
	pairs  []pair
	groups [][]int // by scenario
}

func (r *Report) pool(kind string) *pool {
	p := &pool{}
	for i := range r.Scenarios {
		if c := &r.Scenarios[i]; c.Kind == kind {
			var g []int
			for _, one := range c.pairs {
				g = append(g, len(p.pairs))
				p.pairs = append(p.pairs, one)
			}
			p.groups = append(p.groups, g)
		}
	}
	return p
}

// having is the part of the pool where all policies have a score.
func (p *pool) having(policies ...string) *pool {
	q := &pool{pairs: p.pairs}
	for _, g := range p.groups {
		kept := slices.DeleteFunc(slices.Clone(g), func(i int) bool {
			return slices.ContainsFunc(policies, func(name string) bool { _, ok := p.pairs[i].scores[name]; return !ok })
		})
		if len(kept) > 0 {
			q.groups = append(q.groups, kept)
		}
	}
	return q
}

func (p *pool) all() []int { return slices.Concat(p.groups...) }

// costRatio is the geometric mean of what one policy costs in parts of another.
func (p *pool) costRatio(one, other string) func(of []int) float64 {
	return func(of []int) float64 {
		sum := 0.
		for _, i := range of {
			sum += math.Log(max(p.pairs[i].scores[one].Cost, 1e-12) / max(p.pairs[i].scores[other].Cost, 1e-12))
		}
		return math.Exp(sum / float64(max(len(of), 1)))
	}
}

// tunedRatio is the same after the first ten minutes.
func (p *pool) tunedRatio(one, other string) func(of []int) float64 {
	return func(of []int) float64 {
		sum := 0.
		for _, i := range of {
			sum += math.Log(max(p.pairs[i].scores[one].Tuned, 1e-12) / max(p.pairs[i].scores[other].Tuned, 1e-12))
		}
		return math.Exp(sum / float64(max(len(of), 1)))
	}
}

func (p *pool) violations(name string) func(of []int) float64 {
	return func(of []int) float64 {
		sum := 0.
		for _, i := range of {
			sum += p.pairs[i].scores[name].Violations
		}
		return sum / float64(max(len(of), 1))
	}
}

// fewest is the share of violations below which shares count as equal.
const fewest = 1e-5

// violationRatio is the ratio of the mean violations.
func (p *pool) violationRatio(one, other string) func(of []int) float64 {
	a, b := p.violations(one), p.violations(other)
	return func(of []int) float64 { return max(a(of), fewest) / max(b(of), fewest) }
}

// figure is a statistic of a pool. Nothing is met by an empty one.
func (p *pool) figure(metric, unit string, limit float64, statistic func(of []int) float64) Figure {
	all := p.all()
	f := Figure{Metric: metric, Limit: limit, Unit: unit, Of: len(all)}
	if len(all) > 0 {
		f.Got = statistic(all)
		f.Low, f.High = bootstrap(p.groups, statistic)
		f.Met = f.Got <= limit
	} else {
		f.Note = "not measured"
	}
	return f
}

// Targets of the figures.
const (
	costToClairvoyant       = 1.08
	violationsToClairvoyant = 1.5
	costToStatic            = .8
	costToStaticQuiet       = 1.01
	comparableCost          = 1.5
	violationsToBaselines   = 1. / 3
	falseADay               = 1.
)

// conclude makes tables and figures of the pairs.
func (r *Report) conclude(plan *Plan) {
	for _, kind := range []string{Incidents, Traces, Quiet} {
		if p := r.pool(kind); len(p.groups) > 0 {
			r.Tables = append(r.Tables, p.table(kind))
		}
	}
	for i := range r.Scenarios {
		r.Scenarios[i].mean()
	}
	for _, kind := range []string{Incidents, Traces} {
		p := r.pool(kind)
		if len(p.groups) == 0 {
			continue
		}
		r.Figures = append(r.Figures,
			p.figure(kind+": cost, of the clairvoyant's", "×", costToClairvoyant, p.costRatio(Optimized, Clairvoyant)),
			p.figure(kind+": the same without the first ten minutes", "×", costToClairvoyant, p.tunedRatio(Optimized, Clairvoyant)),
			p.figure(kind+": violations, of the clairvoyant's", "×", violationsToClairvoyant, p.violationRatio(Optimized, Clairvoyant)),
			p.figure(kind+": violations, of what the objective allows", "×", 1, r.ofBudget(p)))
		if plan.Static && kind == Incidents {
			r.Figures = append(r.Figures, p.static(kind, BestStatic, costToStatic), p.static(kind, BestFixed, costToStatic))
		}
		r.Figures = append(r.Figures, p.baselines(kind)...)
	}
	if q := r.pool(Quiet); len(q.groups) > 0 {
		if plan.Static {
			r.Figures = append(r.Figures, q.static(Quiet, BestStatic, costToStaticQuiet), q.static(Quiet, BestFixed, costToStaticQuiet))
		}
		for i := range q.pairs {
			r.Quiet.add(&q.pairs[i].quiet)
		}
		r.Figures = append(r.Figures, q.interference()...)
	}
	for i, m := range r.Mitigations {
		r.Figures = append(r.Figures, Figure{
			Metric: "mitigation, " + m.Name, Limit: mitigationTargets[m.Name], Got: m.Median, Low: m.Low, High: m.High, Unit: "s",
			Met: m.Median <= mitigationTargets[m.Name], Of: len(r.Mitigations[i].Times), Note: fmt.Sprintf("median; 90 %% within %.0f s", m.P90),
		})
	}
	r.Notes = notes
}

// mitigationTargets are by the names of the scenarios, in seconds.
var mitigationTargets = map[string]float64{"outage": 3, "latency-x4": 15, "drip-4": 45}

// notes say what the figures mean.
var notes = []string{
	"Costs are geometric means of paired ratios, violations ratios of means; intervals are two-stage bootstraps over scenarios and seeds. The first minutes, in which the mix is tuned, count.",
	"The clairvoyant has our own reflexes, knows all prices, events and loads, and computes the best mix each second; in a trace it does not know what prompt caches save.",
	"Best static mixes are chosen for each scenario and seed on its own, on a grid and then in steps down to 1.25 points, with violations no more than ours and 5 % of the objective's budget.",
	"Baselines are re-implementations of documented behaviour, with as many attempts as we have. There is no ablation of a fast loop (dual ascent): it does not exist.",
	"Mitigation: until the target's share of the attempts is, over five seconds, a tenth of what it was in the minute before.",
	"False interventions: decisions that change something, and ejections of healthy targets, on quiet days after the first hour. Harm: stretches of five minutes, an hour or the day with more violations than without the optimizer and than the objective allows, beyond chance (log-likelihood ratio 12), or more than 1 % dearer than without it.",
}

func (r *Report) ofBudget(p *pool) func(of []int) float64 {
	return func(of []int) float64 {
		sum := 0.
		for _, i := range of {
			sum += p.pairs[i].scores[Optimized].Violations / max(r.Scenarios[p.pairs[i].of].Budget, 1e-9)
		}
		return sum / float64(max(len(of), 1))
	}
}

// static compares with the best static mix, where there is one.
func (p *pool) static(kind, name string, limit float64) Figure {
	q := p.having(name)
	f := q.figure(kind+": cost, of the "+name+" mix's", "×", limit, q.costRatio(Optimized, name))
	if missing := len(p.all()) - len(q.all()); missing > 0 {
		f.Note = fmt.Sprintf("no static mix has so few violations in %d of %d", missing, len(p.all()))
	}
	return f
}

// baselines compares violations with those of all that cost at most half as much again.
func (p *pool) baselines(kind string) (figures []Figure) {
	all := p.all()
	for _, name := range baselines {
		dear := p.costRatio(name, Optimized)(all)
		if dear > comparableCost {
			continue
		}
		f := p.figure(kind+": violations, of those of "+name, "×", violationsToBaselines, p.violationRatio(Optimized, name))
		f.Note = fmt.Sprintf("which costs %.2f times as much", dear)
		figures = append(figures, f)
	}
	return figures
}

func (p *pool) interference() []Figure {
	per := func(count func(i *Interference) float64) func(of []int) float64 {
		return func(of []int) float64 {
			n, days := 0., 0.
			for _, i := range of {
				n, days = n+count(&p.pairs[i].quiet), days+p.pairs[i].quiet.Days
			}
			return n / max(days, 1e-9)
		}
	}
	f := p.figure("false interventions a day", "", falseADay, per(func(i *Interference) float64 { return i.Decisions + i.Ejections }))
	g := p.figure("harmful ones longer than 5 min, a day", "", 0, per(func(i *Interference) float64 { return i.Harmful }))
	return []Figure{f, g}
}

func (p *pool) table(kind string) Table {
	t := Table{Kind: kind, Scenarios: len(p.groups), Pairs: len(p.all())}
	names := map[string]bool{}
	for _, one := range p.pairs {
		for name := range one.scores {
			names[name] = true
		}
	}
	for _, name := range inOrder(names) {
		q := p.having(name, Clairvoyant)
		all := q.all()
		ratio := q.costRatio(name, Clairvoyant)
		row := Row{Policy: name, Pairs: len(all), Cost: ratio(all), Score: meanOf(q.pairs, all, name)}
		row.Low, row.High = bootstrap(q.groups, ratio)
		t.Rows = append(t.Rows, row)
	}
	return t
}

// inOrder is ours, the ablations, the baselines, and the bounds.
func inOrder(names map[string]bool) (list []string) {
	for _, name := range slices.Concat([]string{Optimized}, ablations, baselines, []string{BestStatic, BestFixed, Clairvoyant}) {
		if names[name] {
			list = append(list, name)
			delete(names, name)
		}
	}
	return append(list, slices.Sorted(maps.Keys(names))...)
}

func meanOf(pairs []pair, of []int, name string) (m Score) {
	n := float64(max(len(of), 1))
	for _, i := range of {
		s := pairs[i].scores[name]
		m.Cost, m.Violations, m.Failed = m.Cost+s.Cost/n, m.Violations+s.Violations/n, m.Failed+s.Failed/n
		m.Ejections, m.Decisions, m.Mix = m.Ejections+s.Ejections/n, m.Decisions+s.Decisions/n, s.Mix
		m.Tuned += s.Tuned / n
	}
	return m
}

// mean fills in what the policies made of the case.
func (c *CaseResult) mean() {
	c.Policies, c.Static = map[string]Score{}, map[string]int{}
	of := map[string][]int{}
	for i, one := range c.pairs {
		c.Requests += one.requests / float64(len(c.pairs))
		for name := range one.scores {
			of[name] = append(of[name], i)
		}
	}
	for name, list := range of {
		c.Policies[name] = meanOf(c.pairs, list, name)
		if staticMixes[name] != "" {
			c.Static[name] = len(list)
		}
	}
}
