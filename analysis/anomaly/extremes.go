package anomaly

// extremes scores how far a value lies outside of everything seen, in parts of the range seen: s/(s+0.02), so that a fiftieth
// beyond counts half. It asks this of the value and of its mean over several windows: a mean that was never as high is news even
// where single values were.
type extremes [len(extremeSpans)]boundedMean

var extremeSpans = [...]int{1, 4, 12, 48} // ticks

const halfExceedance = .02

// boundedMean is a moving mean with the lowest and highest it ever was.
type boundedMean struct {
	mean      movingMean
	low, high float64
	known     bool
}

func newExtremes() (e extremes) {
	for i, span := range extremeSpans {
		e[i].mean = newMovingMean(span)
	}
	return e
}

// step returns the mean score, in [0, 1]. With learn false the ranges stay as they are.
func (e *extremes) step(v float64, learn bool) float64 {
	total := 0.0
	for i := range e {
		total += e[i].step(v, learn)
	}
	return total / float64(len(e))
}

func (b *boundedMean) step(v float64, learn bool) float64 {
	if v = b.mean.add(v); !b.mean.full() {
		return 0
	}
	if !b.known {
		b.low, b.high, b.known = v, v, true
		return 0
	}
	size := b.high - b.low
	beyond := max(v-b.high, b.low-v)
	if learn {
		b.low, b.high = min(b.low, v), max(b.high, v)
	}
	if beyond <= 0 || size <= 0 {
		return 0
	}
	s := beyond / size
	return s / (s + halfExceedance)
}
