package anomaly

import (
	"math"
	"slices"
)

// rarity scores how seldom a value's bin was visited: 1 on the first visit, 1/(1+visits) after that. Bins are as wide as a part of
// what the warm-up spans, and reach far beyond it. It looks twice: in a few wide bins of the value itself, and in more of its
// logarithm, so that neither a spike ten times as high nor a level half as low is lost in one bin.
type rarity struct {
	linear, log visits
	scale       float64 // the median of |value|, where the logarithm turns linear
}

const (
	linearBins = 4   // across the inner 90 % of the warm-up
	logBins    = 10  // likewise
	binCount   = 512 // the outermost ones hold everything further out
)

// learn takes the warm-up: any order, at least one value.
func (r *rarity) learn(values []float64) {
	sorted := make([]float64, len(values))
	for i, v := range values {
		sorted[i] = math.Abs(v)
	}
	slices.Sort(sorted)
	if r.scale = sorted[len(sorted)/2]; r.scale == 0 {
		r.scale = sorted[len(sorted)-1]
	}
	if r.scale == 0 {
		r.scale = 1
	}
	copy(sorted, values)
	slices.Sort(sorted)
	r.linear.learn(sorted, linearBins)
	for i, v := range sorted {
		sorted[i] = r.compress(v)
	}
	r.log.learn(sorted, logBins)
}

// step returns the mean of both views, in [0, 1], and counts v as seen.
func (r *rarity) step(v float64) float64 {
	return (r.linear.step(v) + r.log.step(r.compress(v))) / 2
}

// compress is linear up to the scale and a logarithm above it, for both signs.
func (r *rarity) compress(v float64) float64 { return math.Asinh(v / r.scale) }

// visits counts values by bin and forgets them by half every visitMemory.
type visits struct {
	low, width float64
	total      int
	count      [binCount]float32
}

const visitMemory = 1 << 15 // ticks: nearly four days of 10 s

func (b *visits) learn(sorted []float64, bins float64) {
	last := len(sorted) - 1
	b.low = sorted[last*5/100]
	high := sorted[last*95/100]
	b.width = (high - b.low) / bins
	if b.width <= 0 {
		b.width = (sorted[last] - sorted[0]) / bins
	}
	if b.width <= 0 { // constant so far: a tenth of the value is another value
		b.width = max(math.Abs(sorted[0])/10, math.SmallestNonzeroFloat32)
	}
	for _, v := range sorted {
		b.visit(b.bin(v))
	}
}

func (b *visits) bin(v float64) int {
	return int(min(max(math.Floor((v-b.low)/b.width)+binCount/2, 0), binCount-1))
}

func (b *visits) step(v float64) float64 {
	at := b.bin(v)
	score := 1 / (1 + float64(b.count[at]))
	b.visit(at)
	return score
}

func (b *visits) visit(at int) {
	b.count[at]++
	if b.total++; b.total%visitMemory == 0 {
		for i := range b.count {
			b.count[i] /= 2
		}
	}
}
