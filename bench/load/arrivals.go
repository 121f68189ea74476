package load

import (
	"iter"
	"math/rand/v2"
	"time"
)

// Arrivals are the intended send times of requests, counted from the start of the load, in ascending order.
type Arrivals = iter.Seq[time.Duration]

// Poisson is an endless stream of arrivals at a mean rate per second, independent of each other as those of many clients
// are. The same seed gives the same times.
func Poisson(rate float64, seed uint64) Arrivals {
	return func(yield func(time.Duration) bool) {
		rng := rand.New(rand.NewPCG(seed, streamArrivals))
		for at := 0.0; ; {
			at += rng.ExpFloat64() / rate
			if !yield(time.Duration(at * float64(time.Second))) {
				return
			}
		}
	}
}

// Until ends arrivals at a time: what would come at it or later does not come.
func Until(arrivals Arrivals, end time.Duration) Arrivals {
	return func(yield func(time.Duration) bool) {
		for at := range arrivals {
			if at >= end || !yield(at) {
				return
			}
		}
	}
}
