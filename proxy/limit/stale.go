package limit

import (
	"math"
	"time"
)

// A limit that is whole again before its headers are read is stale: what they say is left is another thing by then. But they tell how fast it fills up, which is kept to.

const (
	// staleAge times as long as headers take is too short for a limit to be whole again, if it is to be followed by what is left. Of headers those count that came before later
	// ones, which are the quicker ones.
	staleAge = 4
	// staleFills is the same for limits that fill up evenly, where what is left changes by little.
	staleFills = 1.5
	// staleBurst of the limit may go at once after a quiet time, or staleGulp where it fills up evenly.
	staleBurst = .05
	staleGulp  = .3
)

// age judges whether the limit is stale, once it is known how it fills up.
func (l *lane) age() {
	if l.style.samples < styleKnown {
		return
	}
	if l.anew < l.told/2 { // with another limit it is another window
		l.told = l.anew
	}
	least := staleAge * l.tookMean
	if l.style.fills() {
		least = staleFills * l.tookMean
	}
	l.stale = l.whole() < least
}

// whole is the time in which all of the limit fills up.
func (l *lane) whole() float64 {
	told := float64(max(l.told, shortest))
	if l.style.fills() {
		return max(told, math.Exp(l.style.mean))
	}
	return told
}

// pace is how much of the share of the limit fills up in a nanosecond.
func (l *lane) pace(share float64) float64 {
	return share * float64(l.limit) / l.whole()
}

// spread is how long n units have to wait where the limit is stale.
func (l *lane) spread(at, n int64, share float64) time.Duration {
	if at < l.closed {
		l.level, l.filled = 0, l.closed
		return time.Duration(l.closed - at)
	}
	rate := l.pace(share)
	burst := float64(l.limit) * staleBurst
	if l.style.fills() {
		burst = float64(l.limit) * staleGulp
	}
	burst = max(min(rate*float64(burstTime), burst), 1)
	l.level = min(l.level+rate*float64(max(at-l.filled, 0)), burst)
	l.filled = at
	if need := min(float64(n), burst); l.level < need-1e-9 {
		return max(time.Duration((need-l.level)/rate), time.Microsecond)
	}
	return 0
}

// close is told that a request was refused as the limit is used up, which comes sooner than other answers: until the reset nothing is sent. It tells whether that is known already: the
// first of each window is a reason for doubt, as it was sent at the pace that was told of.
func (l *lane) close(at int64) (before bool) {
	if at < l.closed {
		return true
	}
	l.closed = min(l.reset, at+l.told)
	return false
}
