package load

import (
	"iter"
	"math/rand/v2"
	"time"
)

// Arrival is one request to come: when, and as far as a trace tells, of what size.
type Arrival struct {
	At     time.Duration // intended send time, from the start of the load
	Input  int           // tokens of the prompt; 0: the kind draws it
	Output int           // limit of the answer's tokens; 0: the kind's own

	// Blocks are what the prompt begins with: the same number is the same text of blockTokens tokens.
	Blocks []uint64
}

// blockTokens is the length of the prefix blocks that traces name.
const blockTokens = 512

// Arrivals are requests to come, in ascending order of their times.
type Arrivals = iter.Seq[Arrival]

// Poisson is an endless stream of arrivals at a mean rate per second, independent of each other as those of many clients
// are. The same seed gives the same times.
func Poisson(rate float64, seed uint64) Arrivals {
	return func(yield func(Arrival) bool) {
		rng := rand.New(rand.NewPCG(seed, streamArrivals))
		for at := 0.0; ; {
			at += rng.ExpFloat64() / rate
			if !yield(Arrival{At: time.Duration(at * float64(time.Second))}) {
				return
			}
		}
	}
}

// Constant is an endless stream of arrivals at equal distances, the first of them at once.
func Constant(rate float64) Arrivals {
	return func(yield func(Arrival) bool) {
		for n := 0.0; ; n++ {
			if !yield(Arrival{At: time.Duration(n / rate * float64(time.Second))}) {
				return
			}
		}
	}
}

// Until ends arrivals at a time: what would come at it or later does not come.
func Until(arrivals Arrivals, end time.Duration) Arrivals {
	return func(yield func(Arrival) bool) {
		for a := range arrivals {
			if a.At >= end || !yield(a) {
				return
			}
		}
	}
}

// replay begins arrivals at a time, which becomes the start, and lets time pass speed times as fast.
func replay(arrivals Arrivals, from time.Duration, speed float64) Arrivals {
	return func(yield func(Arrival) bool) {
		for a := range arrivals {
			if a.At < from {
				continue
			}
			if a.At = time.Duration(float64(a.At-from) / speed); !yield(a) {
				return
			}
		}
	}
}
