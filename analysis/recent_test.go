package analysis

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A moving window says what a sample of the same values says.
func TestRecent_EqualsASample(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 1))
	for _, places := range []int{1, 2, 7, 64} {
		r := NewRecent(places)
		var kept []float64
		for i := range 500 {
			v := math.Round(9 * draw.NormFloat64()) // with ties
			r.Add(v)
			if kept = append(kept, v); len(kept) > places {
				kept = kept[1:]
			}
			s := Values(kept)
			rank := 0.
			for _, k := range kept {
				if k < v {
					rank++
				} else if k == v {
					rank += .5
				}
			}
			gotMedian, _ := r.Median()
			median, _ := s.Median()
			gotMAD, _ := r.MAD()
			mad, _ := s.MAD()
			if gotMedian != median || math.Abs(gotMAD-mad) > 1e-12 || r.Rank(v) != rank || r.Len() != len(kept) {
				t.Fatalf("%d places, value %d: median %v %v, deviation %v %v, rank %v %v", places, i, gotMedian, median, gotMAD, mad, r.Rank(v), rank)
			}
			low, _ := r.Quantile(-1)
			high, _ := r.Quantile(2)
			if low != slices.Min(kept) || high != slices.Max(kept) {
				t.Fatalf("range %v to %v of %v", low, high, kept)
			}
		}
		r.Reset()
		if _, ok := r.Median(); ok || r.Len() != 0 {
			t.Error("a reset window has a median")
		}
		if _, ok := r.MAD(); ok {
			t.Error("a reset window has a deviation")
		}
		if _, ok := r.Quantile(.5); ok {
			t.Error("a reset window has a quantile")
		}
	}
}
