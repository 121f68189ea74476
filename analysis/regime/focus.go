package regime

// focus is FOCuS, functional online CUSUM (Romano, Eckley, Fearnhead and Rigaill, "Fast online changepoint detection via functional
// pruning CUSUM statistics", JMLR 2023), for a change in mean of values that have mean 0 and variance 1 before it: the largest
// log-likelihood ratio over every size and every start of the change at once. A step takes O(log n) on average, bounded by
// maxCandidates, and allocates nothing. The zero value has seen nothing.
type focus struct {
	now      point
	up, down hull
}

// point is a moment between two values: how many there were, and their sums.
type point struct {
	n      float64
	sum    float64 // of the standardised values
	values float64 // of the values as they came in
}

const maxCandidates = 64 // for starts of a change; about log n are needed

// hull holds the moments at which a change in one direction can have begun: the lower convex hull of the walk of sums, from its
// lowest point on. All others are worse for every size of change.
type hull struct {
	n      int
	points [maxCandidates]point
}

// candidate is the most likely change so far.
type candidate struct {
	statistic float64 // log-likelihood ratio
	length    float64 // values since it began
	shift     float64 // mean of the standardised values since
	level     float64 // mean of the values as they came in since
}

// step takes z, the standardised form of v.
func (f *focus) step(z, v float64) candidate {
	f.up.push(f.now, 1)
	f.down.push(f.now, -1)
	f.now.n++
	f.now.sum += z
	f.now.values += v
	up, down := f.up.best(f.now, 1), f.down.best(f.now, -1)
	if up.statistic >= down.statistic {
		return up
	}
	return down
}

// push adds p as a possible start of a change in the direction sign, and drops what p makes superfluous.
func (h *hull) push(p point, sign float64) {
	for h.n > 0 {
		last := h.points[h.n-1]
		rise := sign * (p.sum - last.sum)
		if h.n == 1 {
			if rise > 0 {
				break
			}
			h.n = 0 // p is as low as any: no change can have begun before it
			continue
		}
		before := h.points[h.n-2]
		if sign*(last.sum-before.sum)*(p.n-last.n) < rise*(last.n-before.n) {
			break
		}
		h.n--
	}
	if h.n == maxCandidates {
		copy(h.points[:], h.points[1:])
		h.n--
	}
	h.points[h.n] = p
	h.n++
}

func (h *hull) best(now point, sign float64) (c candidate) {
	for _, p := range h.points[:h.n] {
		sum, n := sign*(now.sum-p.sum), now.n-p.n
		if s := sum * sum / (2 * n); sum > 0 && s > c.statistic {
			c = candidate{statistic: s, length: n, shift: sign * sum / n, level: (now.values - p.values) / n}
		}
	}
	return c
}
