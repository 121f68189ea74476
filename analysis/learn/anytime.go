package learn

import "math"

// Anytime is the interval around an estimate that holds the true value at all looks together with probability 1-alpha, where the estimate is asymptotically
// normal with the given standard error after n values: the sequence of [Sequence] with whatever variance the estimate has, such as that of clustered
// values (Waudby-Smith and others, Annals of Statistics 2024, theorem 2.2). alpha as for [Sequence.Interval]; before 50 values it is everything.
func Anytime(estimate, standardError, n, alpha float64) Interval {
	if !(n >= sequenceFrom) || !(standardError >= 0) {
		return everything
	}
	reach := standardError * math.Sqrt(n) * margin(n, alpha)
	return Interval{estimate - reach, estimate + reach}
}

// State is all that the process knows, to be stored.
func (h *Harm) State() [9]float64 {
	return [9]float64{
		h.log, h.block[0].n, h.block[0].bad, h.block[1].n, h.block[1].bad,
		h.past[0].n, h.past[0].bad, h.past[1].n, h.past[1].bad,
	}
}

// Restore brings the process back to what State has said; false, and no change, for what no process can have said.
func (h *Harm) Restore(s [9]float64) bool {
	if math.IsNaN(s[0]) || math.IsInf(s[0], 0) {
		return false
	}
	for i := 1; i < len(s); i += 2 {
		if n, bad := s[i], s[i+1]; !(bad >= 0 && bad <= n && n <= 1e15) {
			return false
		}
	}
	at := func(i int) counts { return counts{s[i], s[i+1]} }
	*h = Harm{s[0], [2]counts{at(1), at(3)}, [2]counts{at(5), at(7)}}
	return true
}
