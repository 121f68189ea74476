package anomaly

import "math"

// movingMean is the mean of the last values, as many as its ring has places.
type movingMean struct {
	ring []float64
	next int
	n    int
	sum  float64
}

func newMovingMean(span int) movingMean { return movingMean{ring: make([]float64, span)} }

// add takes v in and returns the mean of the values held.
func (m *movingMean) add(v float64) float64 {
	m.sum += v - m.ring[m.next]
	m.ring[m.next] = v
	m.n = min(m.n+1, len(m.ring))
	if m.next++; m.next == len(m.ring) {
		m.next = 0
		m.sum = 0 // from afresh, or the errors of adding and taking away would pile up
		for _, v := range m.ring {
			m.sum += v
		}
	}
	return m.sum / float64(m.n)
}

func (m *movingMean) full() bool { return m.n == len(m.ring) }

// drift is an exponentially weighted mean and variance (Finch, "Incremental calculation of weighted mean and variance", 2009),
// which weighs all values alike until there are 1/weight of them.
type drift struct {
	weight   float64
	n        int
	mean     float64
	variance float64
}

func (d *drift) add(v float64) {
	d.n++
	w := max(d.weight, 1/float64(d.n))
	diff := v - d.mean
	d.mean += w * diff
	d.variance = (1 - w) * (d.variance + w*diff*diff)
}

func (d *drift) sd() float64 { return math.Sqrt(d.variance) }

// surprise turns a tail probability into a score: 0 down to 0.1, 0.63 at 1e-4, 0.95 at 1e-10.
func surprise(p float64) float64 {
	digits := -math.Log10(max(p, 1e-30))
	return 1 - math.Exp(-max(0, digits-1)/3)
}

// upperTail is the normal probability of z or more.
func upperTail(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }
