package optimizer

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Targets that are alike serve the same model at the same price and quality, on a route with affinity. What an exchange costs more at one of them than at another is what their prompt caches happen
// to know, which the next decision would move along with the traffic: such differences are no prices, and a mix that followed them would empty one cache after the other. So they
// have one price, and share what they get as the operator's weights say, as far as none is full or breaks the objective.

// alike lists the open targets by what they are like, in the order of the first of each; those that are like no other are left out.
func (m *mix) alike() (groups [][]int) {
	of := map[string]int{}
	for i, at := range m.open {
		like := m.e.Targets[at].Like
		if like == "" {
			continue
		}
		g, known := of[like]
		if !known {
			g = len(groups)
			of[like] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return slices.DeleteFunc(groups, func(g []int) bool { return len(g) < 2 })
}

// pool has targets that are alike cost the same: what their exchanges cost on average, those of the ones that are away, too, so that the price stays when one goes.
func (m *mix) pool() {
	for i, at := range m.open {
		like := m.e.Targets[at].Like
		if like == "" {
			continue
		}
		for c := range m.cost {
			sum, n := 0., 0.
			for o := range m.e.Targets {
				if k := &m.e.Targets[o]; k.Like == like && k.Cells[c].Count > 0 {
					if cost, known := m.e.Cost(o, c); known {
						sum, n = sum+k.Cells[c].Count*cost, n+k.Cells[c].Count
					}
				}
			}
			if n > 0 {
				m.cost[c][i] = sum / n
			}
		}
	}
}

// spread has targets that are alike share what they get as the operator's weights say. A programme that finds them equally good takes one of them alone. Who is full keeps what it takes, who
// would have a class break its budget the least share, and the others share the rest; where that leads nowhere, and where all together are full, shares stay as they are.
func (t Routing) spread(m *mix, shares [classes][]float64) {
	for _, group := range m.alike() {
		out := [classes]map[int]bool{}
		for range len(group) * classes {
			next, fits := t.split(m, shares, group, out)
			if !fits {
				break
			}
			class := m.breaks(shares, next)
			if class < 0 {
				for c := range shares {
					copy(shares[c], next[c])
				}
				break
			}
			worst := -1
			for _, i := range group {
				if !out[class][i] && (worst < 0 || m.upper[class][i] > m.upper[class][worst]) {
					worst = i
				}
			}
			if out[class] == nil {
				out[class] = map[int]bool{}
			}
			if out[class][worst] = true; len(out[class]) == len(group) {
				break
			}
		}
	}
}

// split are the shares where a group shares by weight, all classes at once, but for those that are out; fits is false where they don't take it.
func (t Routing) split(m *mix, shares [classes][]float64, group []int, out [classes]map[int]bool) (next [classes][]float64, fits bool) {
	var most [classes][]float64 // of the group
	for c := range shares {
		next[c] = slices.Clone(shares[c])
		for _, i := range group {
			high := t.high(m, c, i)
			if out[c][i] {
				high = t.low(m, c, i)
			}
			most[c] = append(most[c], high)
		}
	}
	for range len(group) + 2 { // after each round one more is full
		for c := range next {
			if !t.fill(m, c, group, shares[c], most[c], next[c]) {
				return next, false
			}
		}
		full := false
		for k, i := range group {
			if load, capacity := m.load(i, next), m.e.Targets[m.open[i]].Capacity; capacity > 0 && load > capacity*(1+tiny) {
				full = true
				for c := range most {
					most[c][k] = max(min(most[c][k], next[c][i])*capacity/load, t.low(m, c, i))
				}
			}
		}
		if !full {
			return next, true
		}
	}
	return next, false
}

// tiny is what shares may be off by.
const tiny = 1e-9

// fill divides what a group has of a class by the operator's weights, between the least share and the most that each may have.
func (t Routing) fill(m *mix, class int, group []int, shares, most, next []float64) bool {
	left := 0.
	open := make([]int, 0, len(group)) // places in the group that are not at a bound
	for k, i := range group {
		left += shares[i]
		open = append(open, k)
	}
	for len(open) > 0 {
		weights := 0.
		for _, k := range open {
			weights += m.static(group[k], class)
		}
		// Those at a bound are taken out one kind at a time: what is short on one side decides which.
		over, under := 0., 0.
		for _, k := range open {
			x := m.part(class, group[k], left, weights)
			over, under = over+max(0, x-most[k]), under+max(0, t.low(m, class, group[k])-x)
		}
		rest := open[:0:0]
		taken := 0.
		for _, k := range open {
			i := group[k]
			x, low := m.part(class, i, left, weights), t.low(m, class, i)
			switch {
			case over >= under && over > tiny && x >= most[k]:
				next[i] = most[k]
			case under > over && x <= low:
				next[i] = low
			default:
				next[i] = x
				rest = append(rest, k)
				continue
			}
			taken += next[i]
		}
		if len(rest) == len(open) {
			return true
		}
		left, open = left-taken, rest
	}
	return math.Abs(left) <= 1e-6
}

// part is what a target has of what is left of a class by its weight.
func (m *mix) part(class, target int, left, weights float64) float64 {
	if weights <= 0 {
		return 0
	}
	return max(left, 0) * m.static(target, class) / weights
}

// static is the operator's weight for an open target.
func (m *mix) static(target, class int) float64 {
	return m.e.Static.Targets[m.e.Targets[m.open[target]].Name].Weights[class]
}

// load is how many exchanges a second a target would get, as the programme counts.
func (m *mix) load(target int, shares [classes][]float64) (rate float64) {
	for c := range shares {
		rate += shares[c][target] * m.e.Classes[c].Rate
	}
	return rate
}

// breaks is the first class whose violations are within the budget with the one shares and not with the others, or beyond it with both and more; -1: none.
func (m *mix) breaks(with, next [classes][]float64) int {
	for c := range next {
		if after := m.violating(c, next); m.budget[c] > 0 && after > max(m.budget[c], m.violating(c, with))+tiny {
			return c
		}
	}
	return -1
}

// violating is the upper bound of the violations of a class with the given shares.
func (m *mix) violating(class int, shares [classes][]float64) (sum float64) {
	for i, share := range shares[class] {
		sum += share * m.upper[class][i]
	}
	return sum
}

// uneven is the part of the traffic that is at another of the targets that are alike than the operator's weights say.
func (m *mix) uneven(shares [classes][]float64) (part float64) {
	for _, group := range m.alike() {
		for c := range shares {
			all, weights := 0., 0.
			for _, i := range group {
				all, weights = all+shares[c][i], weights+m.static(i, c)
			}
			if weights <= 0 {
				continue
			}
			for _, i := range group {
				part += m.traffic[c] * math.Abs(shares[c][i]-all*m.static(i, c)/weights) / 2
			}
		}
	}
	return part
}

// astray is how much less of the traffic must be uneven for targets that are alike to be brought back to the operator's weights.
const astray = .1

// alikeIn are the open targets that are like the one, itself among them, whose weights change the same way.
func (m *mix) alikeIn(moved []float64, one int, changes []Change) (list []int) {
	for _, group := range m.alike() {
		if !slices.Contains(group, one) {
			continue
		}
		for _, i := range group {
			changed := slices.ContainsFunc(changes, func(c Change) bool { return strings.HasPrefix(c.Name, "weights/"+m.e.Targets[m.open[i]].Name+"/") })
			if i == one || changed && moved[i]*moved[one] > 0 {
				list = append(list, i)
			}
		}
		return list
	}
	return []int{one}
}

// together is by how much the shares of the targets like one move that move as its own does.
func (m *mix) together(moved []float64, one int, changes []Change) (sum float64) {
	for _, i := range m.alikeIn(moved, one, changes) {
		sum += moved[i]
	}
	return sum
}

// those names them.
func (m *mix) those(moved []float64, one int, changes []Change) string {
	name := m.e.Targets[m.open[one]].Name
	if n := len(m.alikeIn(moved, one, changes)) - 1; n > 0 {
		return fmt.Sprintf("%s and %d like it", name, n)
	}
	return name
}
