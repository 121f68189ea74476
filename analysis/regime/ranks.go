package regime

import (
	"math"
	"slices"
	"sort"
)

// ranks is a baseline of recent values that says where a new one stands among them: its normal score, the quantile of the
// standard normal distribution at its mid-rank. Independent values of whatever distribution have the same scores, which is why
// one table of thresholds serves them all.
type ranks struct {
	ring   []float64 // in the order of arrival
	sorted []float64
	next   int
}

func newRanks(memory int) ranks {
	return ranks{ring: make([]float64, 0, memory), sorted: make([]float64, 0, memory)}
}

// normalScore is the normal score at a doubled mid-rank among n values, with half a value at either end.
func normalScore(doubled, n int) float64 {
	p := (float64(doubled)/2 + .5) / float64(n+1)
	return math.Sqrt2 * math.Erfinv(2*p-1)
}

// score returns the normal score of v; 0 without values. It takes O(log memory).
func (r *ranks) score(v float64) float64 {
	n := len(r.sorted)
	if n == 0 {
		return 0
	}
	below := sort.SearchFloat64s(r.sorted, v)
	through := below
	if below < n && r.sorted[below] == v {
		through = sort.Search(n-below, func(i int) bool { return r.sorted[below+i] > v }) + below
	}
	return normalScore(below+through, n)
}

// add takes v in, and the oldest value out once the memory is full. It takes O(memory) copies of 8 bytes.
func (r *ranks) add(v float64) {
	if len(r.ring) < cap(r.ring) {
		r.ring = append(r.ring, v)
		r.sorted = slices.Insert(r.sorted, sort.SearchFloat64s(r.sorted, v), v)
		return
	}
	oldest := r.ring[r.next]
	r.ring[r.next] = v
	r.next = (r.next + 1) % len(r.ring)
	out, in := sort.SearchFloat64s(r.sorted, oldest), sort.SearchFloat64s(r.sorted, v)
	if in > out {
		in-- // the place once the oldest has left
		copy(r.sorted[out:in], r.sorted[out+1:in+1])
	} else {
		copy(r.sorted[in+1:out+1], r.sorted[in:out])
	}
	r.sorted[in] = v
}

// median returns the middle value; 0 without values.
func (r *ranks) median() float64 {
	if len(r.sorted) == 0 {
		return 0
	}
	return r.sorted[len(r.sorted)/2]
}

// spread returns half the distance between the quantiles that lie one standard deviation off the mean of a normal distribution.
func (r *ranks) spread() float64 {
	n := len(r.sorted)
	if n < 2 {
		return 0
	}
	const tail = .158655
	return (r.sorted[int((1-tail)*float64(n-1))] - r.sorted[int(tail*float64(n-1))]) / 2
}

func (r *ranks) reset() { r.ring, r.sorted, r.next = r.ring[:0], r.sorted[:0], 0 }
