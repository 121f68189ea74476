package anomaly

import "math"

// level scores how far the mean of the last ticks is from the long-run mean, in long-run standard deviations. Values are
// winsorised first, so that a single spike is no new level.
type level struct {
	long  drift
	means [len(levelSpans)]movingMean
}

var levelSpans = [...]int{8, 24} // ticks

const (
	longWeight  = .002 // a memory of 500 ticks
	winsorAt    = 6    // standard deviations
	winsorAfter = 20   // values, before which there is no deviation to speak of
)

func newLevel() (l level) {
	l.long.weight = longWeight
	for i, span := range levelSpans {
		l.means[i] = newMovingMean(span)
	}
	return l
}

// step returns the mean score of both spans, in [0, 1]. With learn false the long run stays as it is.
func (l *level) step(v float64, learn bool) float64 {
	sd := l.long.sd()
	if l.long.n > winsorAfter {
		v = min(max(v, l.long.mean-winsorAt*sd), l.long.mean+winsorAt*sd)
	}
	total := 0.0
	for i := range l.means {
		mean := l.means[i].add(v)
		if l.means[i].full() && sd > 0 {
			total += surprise(2 * upperTail(math.Abs(mean-l.long.mean)/sd))
		}
	}
	if learn {
		l.long.add(v)
	}
	return total / float64(len(l.means))
}
