package limit

import (
	"math"
	"time"
)

// slack is how much older than the last one a time may be because another goroutine read the clock earlier. What is older still comes from a clock that was set back, if it is one that can be.
const slack = int64(time.Second)

// rate is how a bucket fills: most units in each period, up to burst of them at hand. All are at least 0, and period is above it.
type rate struct{ most, period, burst int64 }

// bucket holds units that come back evenly. It counts in integers with what is left of each division carried on, so that nothing drifts, and may go into debt: for what
// took more than was thought, and for a request larger than the burst, which has to wait for a full bucket only. A burst of 0 spaces requests out: each has to wait until what
// those before it took has come back (a leaky bucket).
type bucket struct {
	level int64  // units at hand; below 0: a debt
	part  uint64 // of the next unit, in units × nanoseconds, below the period
	last  int64  // when it was last filled, nanoseconds
}

func newBucket(now int64, r rate) bucket { return bucket{level: r.burst, last: now} }

// fill brings what has come back until now.
func (b *bucket) fill(at instant, r rate) {
	now := at.mono
	if now < b.last {
		if at.setBack(b.last) { // begin from there, with what is at hand
			b.last = now
		}
		return
	}
	came, part, fits := divided(apart(now, b.last), uint64(r.most), b.part, uint64(r.period)) //nolint:gosec // not negative
	b.last = now
	if b.level >= r.burst || !fits || came >= apart(r.burst, b.level) {
		b.level, b.part = min(max(b.level, r.burst), r.burst), 0
		return
	}
	b.level, b.part = b.level+int64(came), part //nolint:gosec // below the burst
}

// wait is how long it takes, with nothing else happening, until n units may be taken. The bucket was filled until now. It is exact to the nanosecond.
func (b *bucket) wait(n int64, r rate) time.Duration {
	want := min(max(n, 0), r.burst)
	if b.level >= want {
		return 0
	}
	if r.most <= 0 {
		return math.MaxInt64
	}
	need, period, most := apart(want, b.level), uint64(r.period), uint64(r.most) //nolint:gosec // not negative
	// The smallest time t with t × most + part >= need × period; the part is below the period and need is above 0.
	ns, left, fits := divided(need-1, period, period-b.part, most)
	if !fits || ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	if left > 0 {
		ns++
	}
	return time.Duration(ns)
}

func (b *bucket) take(n int64) { b.level = minus(b.level, n) }

// give brings units back that were not used.
func (b *bucket) give(n int64, r rate) { b.level = min(plus(b.level, n), r.burst) }

// full tells that nobody is missing anything, as of the last fill.
func (b *bucket) full(r rate) bool { return b.level >= r.burst }
