package optimizer

import (
	"fmt"
	"slices"
)

// Targets that are alike serve the same model at the same price, on a route with affinity. What an exchange costs more at one of them than at another is what their prompt caches happen to
// know, which the next decision would move along with the traffic: such differences are no prices, and a mix that followed them would empty one cache after the other.

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
	n := 0
	for _, g := range groups {
		if len(g) > 1 {
			groups[n] = g
			n++
		}
	}
	return groups[:n]
}

// pool has targets that are alike cost the same: what their exchanges cost on average.
func (m *mix) pool() {
	for _, group := range m.alike() {
		for c := range m.cost {
			sum, n := 0., 0.
			for _, i := range group {
				w := m.e.Targets[m.open[i]].Cells[c].Count + 1
				sum, n = sum+w*m.cost[c][i], n+w
			}
			for _, i := range group {
				m.cost[c][i] = sum / n
			}
		}
	}
}

// spread has targets that are alike share what they get as the operator's weights say, where that breaks nothing that the given shares keep: a programme that finds them equally good takes
// one of them alone.
func (t Routing) spread(m *mix, shares [classes][]float64) {
	groups := m.alike()
	for c := range shares {
		for _, group := range groups {
			all, weights := 0., 0.
			for _, i := range group {
				all += shares[c][i]
				weights += m.e.Static.Targets[m.e.Targets[m.open[i]].Name].Weights[c]
			}
			if weights <= 0 {
				continue
			}
			next, fits := make([]float64, len(group)), true
			violations, before := 0., 0.
			for k, i := range group {
				next[k] = all * m.e.Static.Targets[m.e.Targets[m.open[i]].Name].Weights[c] / weights
				violations, before = violations+next[k]*m.upper[c][i], before+shares[c][i]*m.upper[c][i]
				fits = fits && next[k] >= t.low(m, c, i)-tiny && next[k] <= t.high(m, c, i)+tiny && m.room(i, c, next[k]-shares[c][i], shares)
			}
			if !fits || violations > before && m.violating(c, shares)+violations-before > m.budget[c] && m.budget[c] > 0 {
				continue
			}
			for k, i := range group {
				shares[c][i] = next[k]
			}
		}
	}
}

// alikeIn are the open targets that are like the one, itself among them, whose shares move the same way.
func (m *mix) alikeIn(moved []float64, one int) (list []int) {
	for _, group := range m.alike() {
		if !slices.Contains(group, one) {
			continue
		}
		for _, i := range group {
			if i == one || moved[i]*moved[one] > 0 {
				list = append(list, i)
			}
		}
		return list
	}
	return []int{one}
}

// together is by how much the shares of the targets like one move that move as its own does.
func (m *mix) together(moved []float64, one int) (sum float64) {
	for _, i := range m.alikeIn(moved, one) {
		sum += moved[i]
	}
	return sum
}

// those names them.
func (m *mix) those(moved []float64, one int) string {
	name := m.e.Targets[m.open[one]].Name
	if n := len(m.alikeIn(moved, one)) - 1; n > 0 {
		return fmt.Sprintf("%s and %d like it", name, n)
	}
	return name
}

// tiny is what shares may be off by.
const tiny = 1e-9

// room tells whether a target takes more of a class, beside what the shares give it.
func (m *mix) room(target, class int, more float64, shares [classes][]float64) bool {
	capacity := m.e.Targets[m.open[target]].Capacity
	if capacity <= 0 || more <= 0 {
		return true
	}
	load := more * m.e.Classes[class].Rate
	for c := range shares {
		load += shares[c][target] * m.e.Classes[c].Rate
	}
	return load <= capacity
}

// violating is the upper bound of the violations of a class with the given shares.
func (m *mix) violating(class int, shares [classes][]float64) (sum float64) {
	for i, share := range shares[class] {
		sum += share * m.upper[class][i]
	}
	return sum
}
