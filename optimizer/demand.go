package optimizer

import (
	"math"
	"time"
)

// demandSums is the traffic of a class, remembered over several spans, as outcomeSums are: of half a minute alone it wavers by several per cent, and with it the mix
// where a target is at the end of its capacity.
type demandSums struct {
	loadSums
	fresh   demandSpan // what the longer spans do not have yet
	long    [len(longer)]demandSpan
	settled time.Time // when they had the last of it
	age     time.Duration
}

// longer are the spans besides rateTau.
var longer = [...]time.Duration{2 * time.Minute, 8 * time.Minute, 32 * time.Minute}

// demandSpan are sums that fade, those of the time included.
type demandSpan struct{ count, input, output, seconds float64 }

func (d *demandSums) add(at time.Time, input, output float64) {
	d.loadSums.add(at, 1, input, output)
	d.fresh.count, d.fresh.input, d.fresh.output = d.fresh.count+1, d.fresh.input+input, d.fresh.output+output
}

// demand is the traffic of the longest span that no shorter one contradicts.
func (d *demandSums) demand(now time.Time) Load {
	load := d.load(now)
	if d.settled.IsZero() {
		d.settled = d.at
	}
	switch passed := now.Sub(d.settled); {
	case passed > 0:
		d.settle(passed)
		d.settled = now
	case passed < 0: // the clock was set back: in how much time the last have come is not known
		d.fresh, d.settled = demandSpan{}, now
	}
	l := d.long[len(d.long)-1]
	if d.age < longer[0] || l.count == 0 {
		return load
	}
	return Load{Rate: l.count / l.seconds, Input: l.input / l.count, Output: l.output / l.count}
}

// settle takes what is fresh over into the longer spans.
func (d *demandSums) settle(passed time.Duration) {
	d.age, d.fresh.seconds = d.age+passed, passed.Seconds()
	for i := range d.long {
		l, keep := &d.long[i], math.Exp(-float64(passed)/float64(longer[i]))
		*l = demandSpan{l.count*keep + d.fresh.count, l.input*keep + d.fresh.input, l.output*keep + d.fresh.output, l.seconds*keep + d.fresh.seconds}
	}
	d.fresh = demandSpan{}
	if d.age >= longer[0] {
		d.reconcile(demandSpan{d.count, d.input, d.output, rateTau.Seconds()})
	}
}

// reconcile has longer spans forget what shorter ones contradict.
func (d *demandSums) reconcile(last demandSpan) {
	spans := [1 + len(longer)]demandSpan{last}
	copy(spans[1:], d.long[:])
	for long := 1; long < len(spans); long++ {
		for _, short := range spans[:long] {
			expected := spans[long].count / spans[long].seconds * short.seconds // a Poisson number
			if short.count*math.Log(max(short.count, 1e-9)/expected)-short.count+expected > contradiction {
				for ; long < len(spans); long++ {
					d.long[long-1] = short
				}
				return
			}
		}
	}
}
