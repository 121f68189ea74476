package optimizer

import "math"

// sureOdds are how many times higher or lower the odds of a share are that is bet on against a bound.
var sureOdds = [...]float64{1.25, 1.6, 2, 3, 5, 10, 30}

// sureValue is the e-value from which on a share is surely beyond a bound.
const sureValue = 20

// above is the e-value against the claim that a share of at most p of all outcomes are hits: the mean likelihood ratio of shares with higher odds. It is a test martingale at p, and
// less below, so that it ever reaches 20 with a probability of 5 % at most where the claim is true, however often one looks (Ville 1939). Outcomes that have faded make it smaller.
func above(hits, all, p float64) float64 {
	sum := 0.
	for _, odds := range sureOdds {
		sum += likelier(hits, all, p, odds)
	}
	return sum / float64(len(sureOdds))
}

// below is the same against the claim that the share is at least p, with lower odds and with none.
func below(hits, all, p float64) float64 {
	sum := 0.
	if hits <= 0 {
		sum = math.Exp(-all * math.Log1p(-p))
	}
	for _, odds := range sureOdds {
		sum += likelier(hits, all, p, 1/odds)
	}
	return sum / float64(len(sureOdds)+1)
}

// likelier is how many times likelier the outcomes are where the odds of a hit are so many times those of p.
func likelier(hits, all, p, odds float64) float64 {
	q := odds * p / (1 - p + odds*p)
	return math.Exp(hits*math.Log(q/p) + (all-hits)*math.Log((1-q)/(1-p)))
}

func surelyAbove(hits, all, p float64) bool { return above(hits, all, p) >= sureValue }
func surelyBelow(hits, all, p float64) bool { return below(hits, all, p) >= sureValue }
