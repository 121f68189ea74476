package simulate

import (
	"math/rand/v2"
	"time"
)

// changing are arrivals whose rate changes, of several callers.
type changing struct {
	*Scenario
	at   float64 // seconds
	all  float64
	of   []float64
	edge float64 // until when those hold
}

// changing is nil where the rate is the same all the time, and nobody asks whose it is.
func (w *world) changing() *changing {
	if len(w.Callers) == 0 && len(w.Steps) == 0 {
		return nil
	}
	return &changing{Scenario: w.Scenario}
}

// next is when the next request comes, and whose it is: Poisson, with what is left of an exponential draw carried over to the next rate.
func (c *changing) next(draw *rand.Rand) (at float64, caller int) {
	for left := draw.ExpFloat64(); ; {
		if c.at >= c.edge {
			now := time.Duration(c.at * float64(time.Second))
			c.all, c.of = c.rate(now)
			if c.edge = c.nextStep(now).Seconds(); c.edge <= c.at {
				c.edge = c.at + 1 // after the end of the run
			}
		}
		if need := left / c.all; c.at+need < c.edge {
			c.at += need
			break
		}
		left -= (c.edge - c.at) * c.all
		c.at = c.edge
	}
	if u := draw.Float64() * c.all; len(c.of) > 1 {
		for caller < len(c.of)-1 && u >= c.of[caller] {
			u -= c.of[caller]
			caller++
		}
	}
	return c.at, caller
}
