package optimizer

import (
	"errors"
	"fmt"
	"slices"

	"llm-auto-optimizer/analysis/learn"
)

// rules say which constraints a mix has to meet, besides shares that add up.
type rules struct {
	objective bool // violations
	capacity  bool // of the targets
	limits    bool // quality and cost, as an operator has set them
}

// errLimits says that no mix meets the limits of quality and cost, whatever else.
var errLimits = errors.New("no mix meets the limits of quality and cost")

// solve is the cheapest mix within the objective, or where none is, the one with the fewest violations. Limits of quality and cost are met by both.
func (t Routing) solve(m *mix) (shares [classes][]float64, violating bool, err error) {
	scale := m.dearest()
	x, err := t.programme(m, m.costs, rules{true, true, true})
	if err != nil {
		violating = true
		if m.limited() && !t.possible(m, rules{limits: true}) {
			return shares, true, errLimits
		}
		fewest := func(c, i int) float64 { return (m.traffic[c] + .01) * (m.upper[c][i] + .001*m.cost[c][i]/scale) }
		if x, err = t.programme(m, fewest, rules{capacity: true, limits: true}); err != nil { // all together take less than there is
			x, err = t.programme(m, fewest, rules{limits: true})
		}
	}
	if err != nil {
		return shares, false, err
	}
	n := len(m.open)
	for c := range shares {
		shares[c] = x[c*n : c*n+n]
	}
	t.spread(m, shares)
	return shares, violating, nil
}

// dearest is the highest cost of an exchange, of all targets and classes.
func (m *mix) dearest() (scale float64) {
	for c := range m.cost {
		for i := range m.open {
			scale = max(scale, m.cost[c][i])
		}
	}
	return scale
}

// costs is what a share costs, as a part of the highest.
func (m *mix) costs(c, i int) float64 { return (m.traffic[c] + .01) * m.cost[c][i] / m.dearest() }

// possible tells whether any mix meets rules.
func (t Routing) possible(m *mix, r rules) bool {
	_, err := t.programme(m, m.costs, r)
	return err == nil
}

// programme is the mix with the least cost that meets rules.
func (t Routing) programme(m *mix, cost func(c, i int) float64, r rules) (x []float64, err error) {
	n, p := len(m.open), learn.Programme{}
	row := func() []float64 { return make([]float64, classes*n) }
	for c := range m.now {
		all, limit := row(), row()
		for i := range n {
			p.Cost = append(p.Cost, cost(c, i))
			p.Low, p.High = append(p.Low, t.low(m, c, i)), append(p.High, t.high(m, c, i))
			all[c*n+i], limit[c*n+i] = 1, m.upper[c][i]
		}
		p.Constraints = append(p.Constraints, learn.Constraint{Coefficients: all, Relation: learn.Equal, Limit: 1})
		if budget := m.budget[c]; r.objective && budget > 0 {
			p.Constraints = append(p.Constraints, learn.Constraint{Coefficients: limit, Relation: learn.AtMost, Limit: budget})
		}
		if r.limits && m.e.Objective.Quality > 0 {
			better := row()
			for i := range n {
				better[c*n+i] = m.better(i)
			}
			p.Constraints = append(p.Constraints, learn.Constraint{Coefficients: better, Relation: learn.AtLeast, Limit: t.leastQuality(m, c)})
		}
	}
	if most := m.e.Objective.MaxCost; r.limits && most > 0 {
		spent, scale := row(), m.dearest()
		for c := range m.now {
			for i := range n {
				spent[c*n+i] = m.traffic[c] * m.cost[c][i] / scale
			}
		}
		p.Constraints = append(p.Constraints, learn.Constraint{Coefficients: spent, Relation: learn.AtMost, Limit: most / 1000 / scale})
	}
	for i, at := range m.open {
		if capacity := m.e.Targets[at].Capacity; r.capacity && capacity > 0 {
			load := row()
			for c := range m.now {
				load[c*n+i] = m.e.Classes[c].Rate
			}
			p.Constraints = append(p.Constraints, learn.Constraint{Coefficients: load, Relation: learn.AtMost, Limit: capacity})
		}
	}
	x, _, err = learn.Minimise(p)
	return x, err
}

// limited tells whether there is a limit of quality or cost.
func (m *mix) limited() bool { return m.e.Objective.Quality > 0 || m.e.Objective.MaxCost > 0 }

// better is by how much a target is better than it has to be; one of which nothing is known is just good enough.
func (m *mix) better(i int) float64 {
	if q := m.e.Targets[m.open[i]].Quality; q > 0 {
		return q - m.e.Objective.Quality
	}
	return 0
}

// leastQuality is what a class's mix must be better than it has to be: 0, or what the least share that each target keeps, and the most that one may have, take off the best mix.
func (t Routing) leastQuality(m *mix, class int) float64 {
	order := make([]int, len(m.open))
	left, best := 1., 0.
	for i := range order {
		order[i] = i
		low := t.low(m, class, i)
		left, best = left-low, best+low*m.better(i)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case m.better(a) > m.better(b):
			return -1
		case m.better(a) < m.better(b):
			return 1
		}
		return 0
	})
	for _, i := range order {
		more := min(left, t.high(m, class, i)-t.low(m, class, i))
		left, best = left-more, best+more*m.better(i)
	}
	const rounding = 1e-7
	if best < 0 && best >= -max(t.MinShare, 1-t.MaxShare)*float64(len(order)) {
		return best - rounding
	}
	return 0
}

// dear tells whether exchanges that cost that much are dearer than they may be.
func (m *mix) dear(cost float64) bool {
	return m.e.Objective.MaxCost > 0 && cost > m.e.Objective.MaxCost/1000*(1+1e-9)
}

// poor tells whether shares are below the quality that is asked for, by more than the rounding of shares and the least ones.
func (m *mix) poor(shares [classes][]float64) bool {
	const tolerance = .005
	for c := range shares {
		sum := 0.
		for i, share := range shares[c] {
			sum += share * m.better(i)
		}
		if m.e.Objective.Quality > 0 && m.e.Classes[c].Rate > 0 && sum < -tolerance {
			return true
		}
	}
	return false
}

// impossible says why no mix meets the limits of quality and cost.
func (t Routing) impossible(m *mix) string {
	o := m.e.Objective
	alone := func(quality, cost float64) bool {
		e, only := *m.e, *m
		e.Objective.Quality, e.Objective.MaxCost = quality, cost
		only.e = &e
		return t.possible(&only, rules{limits: true})
	}
	quality, cost := alone(o.Quality, 0), alone(0, o.MaxCost)
	switch {
	case !quality:
		return fmt.Sprintf("no mix has the quality of %.3g that is asked for (objective.quality)", o.Quality)
	case !cost:
		return fmt.Sprintf("no mix costs as little as %s per 1,000 exchanges (objective.max_cost_per_1k)", formatDollars(o.MaxCost))
	default:
		return fmt.Sprintf("no mix of a quality of %.3g costs as little as %s per 1,000 exchanges", o.Quality, formatDollars(o.MaxCost))
	}
}

// obstacle says why no mix keeps the objective, where that is not broken.
func (t Routing) obstacle(m *mix) string {
	switch {
	case t.possible(m, rules{objective: true, limits: true}) && t.possible(m, rules{capacity: true}):
		return "what the targets take leaves no mix that keeps the objective"
	case t.possible(m, rules{objective: true, limits: true}):
		return "the targets take less than there is"
	case m.limited() && t.possible(m, rules{objective: true}):
		return "no mix that keeps the objective is within the limits of quality and cost"
	}
	return "too little is known to be sure that another mix keeps the objective"
}

func (t Routing) low(m *mix, c, i int) float64 {
	if m.e.Static.Targets[m.e.Targets[m.open[i]].Name].Weights[c] <= 0 {
		return 0
	}
	return min(t.MinShare, 1/float64(len(m.open)))
}

func (t Routing) high(m *mix, c, i int) float64 {
	if m.e.Static.Targets[m.e.Targets[m.open[i]].Name].Weights[c] <= 0 {
		return 0
	}
	return t.MaxShare
}
