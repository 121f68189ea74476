package analysis

import (
	"slices"
	"sort"
)

// Recent holds the last values of a stream, in order of size too: exact quantiles and ranks of a moving window. Adding takes two
// binary searches and a move of at most 8 bytes a place, and allocates nothing; reading is O(log n) or O(1). Values must not be NaN.
type Recent struct {
	ring   []float64 // in the order of arrival
	sorted []float64
	next   int
}

// NewRecent returns an empty window of this many places, at least one.
func NewRecent(places int) *Recent {
	places = max(places, 1)
	return &Recent{ring: make([]float64, 0, places), sorted: make([]float64, 0, places)}
}

// Add takes v in, and the oldest value out once all places are taken.
func (r *Recent) Add(v float64) {
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

// Len returns the number of values held.
func (r *Recent) Len() int { return len(r.sorted) }

// Rank returns how many values are below v, those equal counting half.
func (r *Recent) Rank(v float64) float64 {
	below := sort.SearchFloat64s(r.sorted, v)
	through := below
	if below < len(r.sorted) && r.sorted[below] == v {
		through += sort.Search(len(r.sorted)-below, func(i int) bool { return r.sorted[below+i] > v })
	}
	return float64(below+through) / 2
}

// Quantile returns the value at the share q of the window, by nearest rank below; false without values. q outside of [0, 1] counts as
// 0 or 1.
func (r *Recent) Quantile(q float64) (float64, bool) {
	n := len(r.sorted)
	if n == 0 {
		return 0, false
	}
	return r.sorted[int(min(max(q, 0), 1)*float64(n-1))], true
}

// Median returns the middle value; false without values.
func (r *Recent) Median() (float64, bool) {
	n := len(r.sorted)
	if n == 0 {
		return 0, false
	}
	return (r.sorted[(n-1)/2] + r.sorted[n/2]) / 2, true
}

// MAD returns the median absolute deviation from the median, scaled to the standard deviation of normal values; false without values.
// Deviations ascend on either side of the median, so that two pointers find the middle one. O(n) steps, no allocation.
func (r *Recent) MAD() (float64, bool) {
	middle, ok := r.Median()
	if !ok {
		return 0, false
	}
	n := len(r.sorted)
	right := sort.SearchFloat64s(r.sorted, middle)
	left := right - 1
	var last, before float64
	for range n/2 + 1 {
		before = last
		if left < 0 || right < n && r.sorted[right]-middle < middle-r.sorted[left] {
			last = r.sorted[right] - middle
			right++
		} else {
			last = middle - r.sorted[left]
			left--
		}
	}
	if n%2 == 0 {
		last = (before + last) / 2
	}
	return madScale * last, true
}

// Reset empties the window.
func (r *Recent) Reset() { r.ring, r.sorted, r.next = r.ring[:0], r.sorted[:0], 0 }
