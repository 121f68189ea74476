package optimizer

import (
	"math"
	"time"
)

// outcomeSums are how many exchanges there were and how many of them were bad, remembered over several spans: a short one knows at once when a rate has changed, a long
// one knows it well. What was bad in a thousand exchanges alone wavers by a fifth where one in a hundred is, and a mix that is at the end of its objective with it.
type outcomeSums [len(spans)]struct{ count, bad float64 }

// spans are in exchanges.
var spans = [...]float64{1000, 4000, 16000, 64000}

// contradiction is the log-likelihood ratio from which on a shorter span says that what a longer one remembers is over. By simulation that happens by chance less than
// once in five million exchanges, of rates from .003 to 30 %, and on average after 160 where 1 % has become 10 %, 440 where .5 % have become 3 %, 940 where 3 % have become .5 %, 3,100 where 1 % has become 2 %.
// A rise from 1 to 1.5 % it mostly misses: a shorter span never knows that well enough before the longest has come half of the way by itself, after 44,000 exchanges or 17 hours. That
// small a change takes long in any case: a sequential test that errs as seldom has ln(5e6) / divergence(.015, .01), which is 14,000 exchanges.
const contradiction = 5

// add takes an exchange in.
func (o *outcomeSums) add(bad bool) {
	for i := range o {
		keep := 1 - 1/spans[i]
		o[i].count, o[i].bad = o[i].count*keep+1, o[i].bad*keep
		if bad {
			o[i].bad++
		}
	}
}

const (
	// outcomeMemory is how fast outcomes are forgotten besides, so that a route with a few exchanges an hour does not go by what was weeks ago: after as long a little more than a third counts.
	outcomeMemory = 24 * time.Hour
	// outcomesKept is what time leaves: of fewer exchanges it takes nothing, as nobody knows better before newer ones have come, which count beside them and have them fade then.
	outcomesKept = 100
)

// fade forgets what time has passed over.
func (o *outcomeSums) fade(passed time.Duration) {
	if passed <= 0 {
		return
	}
	keep := math.Exp(-float64(passed) / float64(outcomeMemory))
	for i := range o {
		if s := &o[i]; s.count > outcomesKept {
			least := max(keep, outcomesKept/s.count)
			s.count, s.bad = s.count*least, s.bad*least
		}
	}
}

// settle has longer spans forget what shorter ones contradict.
func (o *outcomeSums) settle() {
	for long := 1; long < len(o); long++ {
		for short := range long {
			n, of, from := o[short].count, o[short].bad/o[short].count, o[long].bad/o[long].count
			// The divergence is at most (of-from)²/(from(1-from)), which needs no logarithms.
			if n*(of-from)*(of-from) > contradiction*from*(1-from) && n*divergence(of, from) > contradiction {
				for ; long < len(o); long++ {
					o[long] = o[short]
				}
				return
			}
		}
	}
}

// known is what is believed: the longest span.
func (o *outcomeSums) known() (count, bad float64) { return o[len(o)-1].count, o[len(o)-1].bad }

// divergence is the Kullback-Leibler divergence of a share from another one: the log-likelihood ratio that an outcome adds on average. Of shares outside of (0, 1)
// that the other has not, 0.
func divergence(of, from float64) (d float64) {
	if !(from > 0 && from < 1) {
		return 0
	}
	if of > 0 {
		d += of * math.Log(of/from)
	}
	if of < 1 {
		d += (1 - of) * math.Log((1-of)/(1-from))
	}
	return d
}
