package window

import (
	"iter"
	"math"
	"time"
)

// Distribution is a merged histogram with its exact sum, in the unit it was recorded in (microseconds or NanoUSD). The zero
// value is empty. Not safe for concurrent use while it is merged into.
type Distribution struct {
	count uint64
	sum   uint64
	pages [pageCount]*[pageLen]uint64
}

// Bucket is a part of a distribution: Count values from Low to High, both included. The last possible bucket, Low about 2^37,
// also holds everything larger.
type Bucket struct{ Low, High, Count int64 }

// Count returns the number of values.
func (d *Distribution) Count() int64 { return int64(d.count) }

// Sum returns the exact sum of the values.
func (d *Distribution) Sum() int64 { return int64(d.sum) }

// Mean returns the exact mean; false without values.
func (d *Distribution) Mean() (float64, bool) {
	if d.count == 0 {
		return 0, false
	}
	return float64(d.sum) / float64(d.count), true
}

// Quantile returns the q-quantile by nearest rank: the smallest recorded value that at least a share q of the values does not
// exceed, within 0.79 %. A q outside [0, 1] counts as 0 or 1. It returns false without values, or if q is NaN.
func (d *Distribution) Quantile(q float64) (int64, bool) {
	if d.count == 0 || math.IsNaN(q) {
		return 0, false
	}
	rank := uint64(max(1, math.Ceil(min(q, 1)*float64(d.count))))
	rank = min(rank, d.count) // float64 rounds counts above 2^53
	var seen uint64
	for p, page := range d.pages {
		if page == nil {
			continue
		}
		for i, n := range page {
			if seen += n; seen >= rank {
				return bucketValue(p<<mantissaBits + i), true
			}
		}
	}
	panic("BUG: a distribution has fewer values in its buckets than in its count")
}

// Buckets returns the buckets that hold values, in ascending order: for tests on ranks, shares above a limit, trimmed means.
func (d *Distribution) Buckets() iter.Seq[Bucket] {
	return func(yield func(Bucket) bool) {
		for p, page := range d.pages {
			if page == nil {
				continue
			}
			for i, n := range page {
				if n == 0 {
					continue
				}
				low, high := bucketBounds(p<<mantissaBits + i)
				if !yield(Bucket{low, high, int64(n)}) {
					return
				}
			}
		}
	}
}

// Merge adds o to d. o stays as it is.
func (d *Distribution) Merge(o *Distribution) {
	d.count += o.count
	d.sum += o.sum
	for p, from := range o.pages {
		if from == nil {
			continue
		}
		to := d.page(p)
		for i, n := range from {
			to[i] += n
		}
	}
}

func (d *Distribution) add(bucket int, n uint64) {
	d.count += n
	d.page(bucket >> mantissaBits)[bucket&(pageLen-1)] += n
}

func (d *Distribution) page(p int) *[pageLen]uint64 {
	if d.pages[p] == nil {
		d.pages[p] = new([pageLen]uint64)
	}
	return d.pages[p]
}

// reset empties d and keeps its pages.
func (d *Distribution) reset() {
	d.count, d.sum = 0, 0
	for _, page := range d.pages {
		if page != nil {
			*page = [pageLen]uint64{}
		}
	}
}

// Times is a distribution of microseconds that answers in time.Duration.
type Times struct{ *Distribution }

// Sum returns the sum of the times.
func (t Times) Sum() time.Duration { return time.Duration(t.sum) * time.Microsecond }

// Mean returns the mean time; false without values.
func (t Times) Mean() (time.Duration, bool) {
	m, ok := t.Distribution.Mean()
	return time.Duration(m * float64(time.Microsecond)), ok
}

// Quantile is [Distribution.Quantile] as a time.
func (t Times) Quantile(q float64) (time.Duration, bool) {
	v, ok := t.Distribution.Quantile(q)
	return time.Duration(v) * time.Microsecond, ok
}
