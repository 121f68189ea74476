package optimizer

import (
	"math"
	"time"
)

// waits are the times that exchanges sent to a target have waited for content, on a logarithmic scale. A hedge that has won hides how long its exchange would
// have waited without: such a time is censored, known only to be longer.
type waits struct {
	kept, late, won [waitBins]float32 // within the objective; not; censored
	gaveUp, broken  float32           // an attempt was given up at the learned bound; of these, not within the objective
}

const (
	waitBins  = 86
	waitFirst = 16 * time.Millisecond // the upper end of the first bin
	waitSteps = 6                     // bins that an octave has: they are 12 % wide; the last one is from 4 minutes on
)

func waitBin(d time.Duration) int {
	if d <= waitFirst {
		return 0
	}
	return min(int(math.Ceil(waitSteps*math.Log2(float64(d)/float64(waitFirst)))), waitBins-1)
}

// waitEnd is the upper end of a bin.
func waitEnd(bin int) time.Duration {
	return time.Duration(float64(waitFirst) * math.Exp2(float64(bin)/waitSteps))
}

// halve lets what is known fade.
func (w *waits) halve() {
	for b := range w.kept {
		w.kept[b], w.late[b], w.won[b] = w.kept[b]/2, w.late[b]/2, w.won[b]/2
	}
	w.gaveUp, w.broken = w.gaveUp/2, w.broken/2
}

// tally is how many exchanges had to wait, from a bin on.
type tally [waitBins + 1]struct{ all, late float64 }

// add counts the times that are known.
func (t *tally) add(w *waits) {
	all, late := 0., 0.
	for b := waitBins - 1; b >= 0; b-- {
		all, late = all+float64(w.kept[b]+w.late[b]), late+float64(w.late[b])
		t[b].all, t[b].late = t[b].all+all, t[b].late+late
	}
}

// quantile is the upper end of the bin that holds it; 0 where too few times are known.
func (t *tally) quantile(p float64) time.Duration {
	left := (1 - p) * t[0].all
	if t[0].all < minWaits {
		return 0
	}
	b := 0
	for b < waitBins-1 && t[b+1].all > left {
		b++
	}
	return waitEnd(b)
}

const minWaits = 200

// beyond is the probability that an exchange waits for longer than d.
func (t *tally) beyond(d time.Duration) float64 {
	if d <= 0 || t[0].all == 0 {
		return 1
	}
	return t[waitBin(d)+1].all / t[0].all
}

// saved estimates how many of the exchanges that a hedge has kept within the objective would have violated it without: each as likely as those that were
// still waited for at the same time and had no hedge that won. That is the Aalen-Johansen estimator of two competing ends under censoring (Aalen and Johansen,
// Scandinavian Journal of Statistics 5, 1978). doubt is the standard error.
func (w *waits) saved() (saved, doubt float64) {
	risk, known := 0., 0. // waited for at the bin's begin; ends that are known from there on
	var variance, shared float64
	violates := .5 // whoever is waited for longer than all that are known
	for b := waitBins - 1; b >= 0; b-- {
		kept, late, won := float64(w.kept[b]), float64(w.late[b]), float64(w.won[b])
		if won > 0 { // content came in this bin: what follows would have been
			saved += won * violates
			p := (violates*known + 1) / (known + 2)
			variance += won * p * (1 - p)
			shared += won * math.Sqrt(p*(1-p)/(known+1))
		}
		if risk += kept + late + won; kept+late > 0 {
			violates = (late + (risk-kept-late)*violates) / risk
			known += kept + late
		}
	}
	return saved, math.Sqrt(variance + shared*shared)
}
