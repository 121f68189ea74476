package limit

import (
	"math"
	"time"
)

const (
	// DefaultShare of a provider's limit is used; the rest is for requests that are counted otherwise than they were here, and for others with the same key.
	DefaultShare = .97
	// burstTime is how long a pacer that nobody used saves up.
	burstTime = int64(250 * time.Millisecond)
	// burstLeft of what is left may go at once after a quiet time: spreading is for those who would use up all of it, and an hour's or a day's limit is mostly used in bursts.
	burstLeft = .5
	// shortest time over which what is left is spread.
	shortest = int64(10 * time.Millisecond)
	// leastLeft units let something through: of a limit of 1, what is used of it is not a whole one.
	leastLeft = .1
)

// lane is one limit that a provider tells of.
type lane struct {
	of      Dimension
	window  time.Duration
	trust   trust
	view            // as of the last reading
	soonest int64   // when the reset was at the soonest: as if the headers were as old as the request
	took    int64   // how long after the request they came
	told    int64   // the longest time to a reset that was told so far
	anew    int64   // the same since the limit last changed
	serial  uint64  // of the request that it came with
	heard   int64   // when it came
	sum     int64   // that had been sent then
	span    int64   // the longest time to a reset so far: about the window
	lag     float64 // where between request and answer headers are from: 0 the request, 1 the answer
	style   style
	level   float64 // what may be sent at once
	filled  int64   // when level was
	dry     dry
	use     use

	tookMean float64 // of took, of late
	stale    bool    // only how fast it fills up is known
	closed   int64   // until when a stale limit is used up
}

// lagWeight is that of the last boundary between two windows in what is known of the lag.
const lagWeight = .3

// read takes a reading in that came at with the request s, unless a later one is known.
func (l *lane) read(at int64, r *Reading, v view, s *Sent, flying int64) {
	known := l.serial > 0
	if !known {
		l.lag = 1
	}
	if s.serial <= l.serial {
		return
	}
	took := max(at-s.at, 0)
	soonest := v.reset
	if !r.Dated { // it counts from when the provider wrote it
		soonest = v.reset - took
		v.reset = soonest + int64(l.lag*float64(took))
	}
	if passed := v.at - l.at; known && v.limit == l.limit && v.remaining-l.remaining > v.limit/4 && passed < l.span/4 && !l.style.fills() && l.took > 0 {
		// A new window has begun between the two requests: now it is known what the reset was.
		lag := float64(l.at+passed/2-l.soonest) / float64(l.took)
		l.lag += lagWeight * (min(max(lag, 0), 1) - l.lag)
	}
	written := view{at: v.at, limit: v.limit, remaining: v.remaining, reset: soonest} // as if at once
	l.trust.see(written, flying)
	if v.limit != l.limit {
		l.span, l.anew, l.style = 0, 0, style{}
	}
	l.heard = at
	l.view, l.serial, l.sum, l.soonest, l.took = v, s.serial, s.sum[l.of], soonest, took
	l.span = max(v.reset-v.at, l.span)
	l.style.see(written, l.span)
	l.anew = max(l.anew, soonest-v.at)
	l.told = max(l.told, l.anew)
	if l.took > 0 {
		l.tookMean += tookWeight * (float64(l.took) - l.tookMean)
	}
	l.age()
	l.use.see(v, l.span, s.amounts[l.of], float64(l.told) < l.tookMean*toldLeast)
}

// usable tells that the lane is to be followed: it makes sense, and the provider still tells of it.
func (l *lane) usable(at int64) bool {
	return l.trust.trusted(at) && !l.use.suspended(at) && at-l.heard <= untold*max(l.span, int64(time.Minute))
}

// short tells whether with so many units left a request of n is refused rightly.
func (l *lane) short(left float64, n int64) bool {
	return left <= nearlyUsed*float64(l.limit) || left < float64(n)
}

// refused is told of a refusal that no limit explains. Of one that is not followed that is no news.
func (l *lane) refused(at int64) {
	if l.usable(at) && l.trust.refused(at) {
		l.level, l.filled = 0, l.trust.until // nothing is saved up until then
	}
}

// untold is for how many windows a limit is followed that nothing is told of any more.
const untold = 2

// left is what can be sent before the reset, and how long that is away. sum is what was sent so far, and share the part of the limit that is used. What DefaultShare leaves is a
// margin for what is under way: less and less of it is kept towards the reset, as nobody has anything of what is left then. What a lower share leaves besides is kept to the end:
// it is others', or the provider does not really allow it.
func (l *lane) left(at, sum int64, share float64) (left, reset float64) {
	if at >= l.reset { // whole again, whether or not somebody has told
		l.view = view{at: at, limit: l.limit, remaining: l.limit, reset: at + max(l.span, shortest)}
		l.sum, l.took = sum, 0
	}
	left = float64(l.remaining) - float64(sum-l.sum)
	if whole := l.reset - l.at; l.style.fills() && whole > 0 {
		left = min(left+float64(l.limit-l.remaining)*float64(at-l.at)/float64(whole), float64(l.limit))
	}
	reset = float64(max(l.reset-at, shortest))
	spare := (1-max(share, DefaultShare))*min(reset/float64(max(l.span, 1)), 1) + max(DefaultShare-share, 0)
	return left - spare*float64(l.limit), reset
}

// rate is how much may be sent a nanosecond until the reset.
func (l *lane) rate(at, sum int64, share float64) float64 {
	switch {
	case l.stale && at < l.closed:
		return 0
	case l.stale:
		return l.pace(share)
	}
	left, reset := l.left(at, sum, share)
	return max(left, 0) / reset
}

// empty is how long it takes until something is left again; 0: there is.
func (l *lane) empty(at, sum int64, share float64) time.Duration {
	if l.stale {
		return time.Duration(max(l.closed-at, 0))
	}
	left, reset := l.left(at, sum, share)
	if left >= leastLeft {
		return 0
	}
	if whole := l.reset - l.at; l.style.fills() && whole > 0 && l.limit > l.remaining {
		reset = min(reset, (leastLeft-left)*float64(whole)/float64(l.limit-l.remaining))
	}
	return time.Duration(reset)
}

// wait is how long n units have to wait: what is left is spread evenly over the time until the reset. Where the limit fills up evenly that settles where as much is sent as comes
// in, with half of it in reserve.
func (l *lane) wait(at, sum, n int64, share float64) time.Duration {
	if l.stale {
		return l.spread(at, n, share)
	}
	left, reset := l.left(at, sum, share)
	if left < leastLeft {
		l.use.held = true
		l.dry.found(at, share, l.filled)
		return time.Duration(min(int64(reset), max(int64(reset)/16, int64(time.Millisecond))))
	}
	rate := left / reset
	burst := max(rate*float64(burstTime), left*burstLeft, 1)
	if l.dry.at > l.filled && share <= l.dry.share {
		l.level, l.filled = 0, l.dry.at
	}
	l.level = min(l.level+rate*float64(max(at-l.filled, 0)), burst, left)
	l.filled = at
	if need := min(float64(n), burst, left); l.level < need-1e-9 {
		l.use.held = true
		return max(time.Duration((need-l.level)/rate), time.Microsecond)
	}
	return 0
}

// dry is when nothing was left for a share and for all smaller ones: so long they have saved up nothing. For a larger one, whose attempts come between, there may have been something.
type dry struct {
	at    int64
	share float64
}

// found notes that nothing was left; filled is when something was.
func (d *dry) found(at int64, share float64, filled int64) {
	if share >= d.share || d.at <= filled {
		*d = dry{at, share}
	}
}

func (l *lane) take(n int64) { l.level -= float64(n) }

// style tells limits that fill up evenly from those that are whole again at a moment. Of the former the time to the reset is in proportion to what is missing, whatever that is.
type style struct {
	at             int64 // of the last sample
	samples        int
	mean, variance float64 // of the logarithm of time to reset per share that is missing
}

const (
	styleSamples  = 16   // in a window, at most, and the memory
	styleKnown    = 12   // samples; before that a limit is taken for the latter
	styleVariance = .2   // below which it is in proportion. In windows, used evenly, it is above 1
	styleMissing  = .002 // of the limit; when less is missing times are too short to tell
)

func (s *style) see(v view, span int64) {
	missing := 1 - float64(v.remaining)/float64(max(v.limit, 1))
	if v.at-s.at < span/styleSamples || missing < styleMissing || v.reset <= v.at {
		return
	}
	s.at = v.at
	x := math.Log(float64(v.reset-v.at) / missing)
	if s.samples++; s.samples == 1 {
		s.mean = x
	}
	weight := max(1/float64(s.samples), 1./styleSamples)
	d := x - s.mean
	s.mean += weight * d
	s.variance += weight * (d*d - s.variance)
}

func (s *style) fills() bool { return s.samples >= styleKnown && s.variance < styleVariance }

// use watches whether following a limit makes use of it. One that is whole again well before its readings come, and holds requests back while they say time and again that most of
// it is left, is not followed for a while.
type use struct {
	held    bool
	since   int64
	seen    int
	low     float64 // the least share that was left since
	wasted  int     // stretches in a row
	waiting int64   // suspended until
}

const (
	useSpans   = 2 // of a stretch
	useSeen    = 8 // readings in it, at least
	useLeft    = .75
	useWasted  = 3
	useSuspend = int64(5 * time.Minute)
	// toldLeast of the time that headers take has been told as the time to a reset at least once by a limit that can be followed.
	toldLeast  = 1. / 3
	tookWeight = .1
)

func (u *use) see(v view, span, own int64, short bool) {
	if u.seen == 0 {
		u.since, u.low = v.at, 1
	}
	u.seen++
	u.low = min(u.low, float64(plus(v.remaining, own))/float64(max(v.limit, 1)))
	if v.at-u.since < useSpans*span || u.seen < useSeen {
		return
	}
	if u.wasted++; !short || !u.held || u.low < useLeft {
		u.wasted = 0
	}
	if u.wasted >= useWasted {
		u.waiting, u.wasted = v.at+useSuspend, 0
	}
	u.held, u.seen = false, 0
}

func (u *use) suspended(at int64) bool { return at < u.waiting }
