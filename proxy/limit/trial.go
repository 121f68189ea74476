package limit

import (
	"math"
	"time"
)

// trial finds out how fast requests may be sent where nobody says so: it sends ever faster until the provider refuses, and then backs off (AIMD). It remembers where it was
// refused: up to near there it comes back quickly, and from there on it goes slowly until the limit must have been raised (as CUBIC does, RFC 9438). Rates are in requests a second.
type trial struct {
	rate    float64 // 0: never refused, nothing is known
	ceiling float64 // where it was refused last
	floor   float64 // below which one episode of refusals does not cut
	top     float64 // the highest ceiling of late
	cutAt   int64   // when the refusals began that the rate was cut for
	grown   int64   // when the rate was last raised
	wanted  bool    // somebody had to wait since: only then it says anything that nobody refuses
	level   float64
	filled  int64

	count   int64 // sent since counted
	counted int64
	pace    float64 // that was sent, the second before
	mean    float64 // of that, the last seconds
}

const (
	trialCut     = .85         // at the first refusal
	trialMore    = .91         // at each further one
	trialEpisode = time.Second // from the first refusal: one window that is used up refuses many at once
	trialFloor   = .55         // of where it was: lower it does not go for one episode, as a window that is used up refuses all until it ends
	trialLeast   = .1          // requests a second
	trialNear    = .96         // of the ceiling: so far it comes back quickly
	trialBack    = .08         // of the ceiling, a second
	trialProbe   = .004
	trialSure    = 15 * time.Second // after so long without a refusal the limit was raised
	trialRaised  = .1               // of the rate, a second, as far as the highest ceiling
	trialBeyond  = .04
	trialMean    = .3 // weight of the last second
	trialAbove   = 1  // the mean of late: a provider that lets bursts through refuses late
	topMemory    = 10 * time.Minute
)

// sent counts a request. asked tells that it has waited for its turn here: what is sent by the provider's own numbers is not owed.
func (t *trial) sent(at int64, asked bool) {
	if t.rate > 0 && asked {
		t.level = max(t.level-1, -max(t.rate*seconds(burstTime), 1))
	}
	t.count++
	if took := at - t.counted; took >= int64(time.Second) || took < 0 {
		t.pace = float64(t.count) / max(seconds(took), 1)
		t.mean += trialMean * (t.pace - t.mean)
		t.count, t.counted = 0, at
	}
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }

// wait is how long the next request has to wait.
func (t *trial) wait(at int64) time.Duration {
	if t.rate == 0 {
		return 0
	}
	t.level = min(t.level+t.rate*seconds(max(at-t.filled, 0)), max(t.rate*seconds(burstTime), 1))
	t.filled = at
	if t.level < 1-1e-9 {
		t.wanted = true
		return max(time.Duration((1-t.level)/t.rate*float64(time.Second)), time.Microsecond)
	}
	return 0
}

// through is told that the provider has let a request through.
func (t *trial) through(at int64) {
	if t.rate == 0 || at <= t.grown {
		return
	}
	if t.wanted {
		step := min(seconds(at-t.grown), 1)
		switch {
		case t.rate < trialNear*t.ceiling:
			t.rate = min(t.rate+trialBack*t.ceiling*step, trialNear*t.ceiling)
		case at-t.cutAt < int64(trialSure):
			t.rate += trialProbe * t.ceiling * step
		case t.rate < trialNear*t.top:
			t.rate = min(t.rate+trialRaised*t.rate*step, trialNear*t.top)
		default:
			t.rate += trialBeyond * t.rate * step
		}
		t.wanted = false
	}
	t.grown = at
}

// refused is told that the provider has refused one. It tells whether an episode of refusals has begun with it.
func (t *trial) refused(at int64) (first bool) {
	first = true
	switch {
	case t.rate == 0: // what was sent while nothing was known is not owed
		t.level, t.filled = 0, at
		t.cut(at, max(t.pace, float64(t.count)/max(seconds(at-t.counted), .1)))
	case at-t.cutAt >= int64(trialEpisode) || at < t.cutAt:
		t.cut(at, t.rate)
	default:
		first = false
		t.rate = max(t.rate*trialMore, min(t.rate, t.floor))
	}
	t.rate, t.grown, t.level = max(t.rate, trialLeast), at, min(t.level, 0)
	return first
}

// cut backs off from a rate that was too high.
func (t *trial) cut(at int64, from float64) {
	t.top = max(t.top*math.Exp(-seconds(max(at-t.cutAt, 0))/topMemory.Seconds()), from)
	t.ceiling, t.rate, t.cutAt = max(min(from, t.mean*trialAbove), trialLeast), from*trialCut, at
	t.floor = from * trialFloor
}
