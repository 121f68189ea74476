package learn

import (
	"math"

	"llm-auto-optimizer/analysis"
)

// Bet is an e-process against the claim that the mean of values in [0, 1] is at most a limit: what a gambler has made of 1 who bets on
// each next value being above it. Whatever the distribution and however often one looks, the claim being true, it ever reaches 1/alpha
// with probability at most alpha (Ville). Stakes are those of Waudby-Smith and Ramdas (JRSSB 2024), section B.2, aGRAPA, at most half
// of what cannot be lost. O(1) a value, no allocation.
type Bet struct {
	limit  float64
	log    float64
	values analysis.Moments
}

// NewBet returns a bet against a mean of at most limit, in (0, 1); outside counts as .001 or .999.
func NewBet(limit float64) *Bet { return &Bet{limit: min(max(limit, .001), .999)} }

// Add takes v in; NaN is left out, and values outside of [0, 1] count as the nearest.
func (b *Bet) Add(v float64) {
	if math.IsNaN(v) {
		return
	}
	v = min(max(v, 0), 1)
	mean, variance := .5, .25
	if n := b.values.Count(); n > 0 { // with one value of mean 1/2 and variance 1/4 before the first
		m, _ := b.values.Mean()
		s, _ := b.values.Variance()
		mean, variance = (.5+n*m)/(n+1), (.25+(n-1)*s)/(n+1)
	}
	d := mean - b.limit
	stake := min(max(d/(variance+d*d), 0), .5/b.limit)
	b.log += math.Log1p(stake * (v - b.limit))
	b.values.Add(v)
}

// Log returns the logarithm of the e-value.
func (b *Bet) Log() float64 { return b.log }

// Harm is an e-process against the claim that a treatment does no harm: that the mean of outcomes in [0, 1], bad being 1, is not above
// that of a control that runs at the same time, whatever the shares of the two (Turner, Ly and Grünwald, "Generic e-variables for
// exact sequential k-sample tests", Journal of Statistical Planning and Inference 2024). Outcomes are taken in blocks that have both;
// within a block each is worth its likelihood ratio between the rates learned so far and their common mean. O(1) an outcome, no
// allocation. The zero value has seen nothing.
type Harm struct {
	log   float64
	block [2]counts // control, treated, of the block that is not full yet
	past  [2]counts
}

type counts struct{ n, bad float64 }

// harmPrior is how many outcomes, half a bad one in ten, both are believed to have had before the first.
const (
	harmPrior = 10
	harmBad   = .5
)

// Add takes an outcome in; NaN is left out, values outside of [0, 1] count as the nearest.
func (h *Harm) Add(treated bool, bad float64) {
	if math.IsNaN(bad) {
		return
	}
	c := &h.block[0]
	if treated {
		c = &h.block[1]
	}
	c.n++
	c.bad += min(max(bad, 0), 1)
	if h.block[0].n > 0 && h.block[1].n > 0 {
		h.close()
	}
}

// close bets on the block, which is full, and then learns from it.
func (h *Harm) close() {
	control, treated := h.past[0].rate(), h.past[1].rate()
	if treated > control {
		n0, n1 := h.block[0].n, h.block[1].n
		common := (n0*control + n1*treated) / (n0 + n1)
		h.log += h.block[0].ratio(control, common) + h.block[1].ratio(treated, common)
	}
	for i, b := range h.block {
		h.past[i].n += b.n
		h.past[i].bad += b.bad
	}
	h.block = [2]counts{}
}

func (c counts) rate() float64 { return (c.bad + harmBad) / (c.n + harmPrior) }

// ratio is the logarithm of the likelihood ratio of outcomes under two rates; those between 0 and 1 are that much of a bad one.
func (c counts) ratio(rate, against float64) float64 {
	return c.bad*math.Log(rate/against) + (c.n-c.bad)*math.Log((1-rate)/(1-against))
}

// Log returns the logarithm of the e-value.
func (h *Harm) Log() float64 { return h.log }

// Rates returns the shares of bad outcomes so far, and how many there were.
func (h *Harm) Rates() (control, treated float64, n0, n1 float64) {
	var c [2]counts
	for i := range c {
		c[i] = counts{h.past[i].n + h.block[i].n, h.past[i].bad + h.block[i].bad}
	}
	return c[0].bad / max(c[0].n, 1), c[1].bad / max(c[1].n, 1), c[0].n, c[1].n
}

// Reason compares the e-value with limit, such as 20 or 100.
func (h *Harm) Reason(limit float64) analysis.Reason {
	control, treated, n0, _ := h.Rates()
	return analysis.Reason{
		Method:    "harm e-process",
		Statistic: "log e-value",
		Value:     h.log,
		Threshold: math.Log(limit),
		Effect:    percent(control) + " -> " + percent(treated),
		Baseline:  analysis.Baseline{Count: int(n0), Level: control},
	}
}
