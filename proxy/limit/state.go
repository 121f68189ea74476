package limit

import (
	"math"
	"time"
)

// instant is a moment on both clocks, in nanoseconds: mono since the set was made, on the clock that is not set where there is one, and wall in Unix time.
type instant struct {
	mono, wall int64
	steady     bool // mono is of the clock that is not set: what is behind was read before its goroutine had to wait
}

// setBack tells that the clock of mono was, since it said last.
func (at instant) setBack(last int64) bool { return !at.steady && minus(last, at.mono) > slack }

// amounts are what a request takes, by dimension.
type amounts [dimensions]int64

func (a *amounts) set(input, output, cost int64) {
	input, output = max(input, 0), max(output, 0)
	*a = amounts{Requests: 1, InputTokens: input, OutputTokens: output, Tokens: plus(input, output), Concurrent: 1, Spend: max(cost, 0)}
}

// state is what is known of one limit for one entry.
type state struct {
	born   uint32 // the version of the rules that made it: what was reserved before is not in it
	bucket bucket
	spend  spend
	held   int64 // requests at a time
	since  int64 // when the oldest of them began, as far as none has ended yet; nanoseconds
	kept   int64 // nanoseconds that such a one lasts, a moving mean; 0: none has ended yet
}

func newState(at instant, l *Limit, born uint32) state {
	s := state{born: born}
	if l.bucketed() {
		s.bucket = newBucket(at.mono, l.rate())
	}
	return s
}

// roll brings the state to now.
func (s *state) roll(at instant, l *Limit) {
	switch {
	case l.bucketed():
		s.bucket.fill(at, l.rate())
	case l.Of == Spend:
		s.spend.roll(at, l)
	}
}

// wait is how long until n may be taken; never that it will not be by waiting.
func (s *state) wait(n int64, at instant, l *Limit) (wait time.Duration, never bool) {
	switch {
	case l.Most <= 0:
		return math.MaxInt64, true
	case l.bucketed():
		return s.bucket.wait(n, l.rate()), false
	case l.Of == Spend:
		return s.spend.wait(n, at, l)
	case s.held < l.Most:
		return 0, false
	}
	// Slots come back evenly, as far as anybody can tell. Until one has, they last as long as the oldest has lasted.
	lasts := s.kept
	if lasts == 0 {
		lasts = max(minus(at.mono, s.since), 0)
	}
	each := time.Duration(lasts / max(l.Most, 1))
	return min(min(max(each, leastSlot), mostSlots)*time.Duration(min(s.held-l.Most+1, maxSlots)), mostSlots), false
}

const (
	leastSlot = time.Millisecond // in which a slot comes back
	maxSlots  = 1 << 20          // that are counted
	mostSlots = time.Minute      // in which one comes back, as far as anybody is told
)

// guessed tells that what wait says of n is a guess.
func (s *state) guessed(n int64, l *Limit) bool {
	return l.Of == Concurrent || l.Of == Spend && minus(l.Most, s.spend.spent) >= n
}

// holds is what is left of an untouched limit: less than Most where not all of that may come at once.
func (l *Limit) holds() int64 {
	switch {
	case !l.bucketed():
		return l.Most
	case l.Smooth > 0:
		return l.spaced(0, 0)
	}
	return min(l.rate().burst, l.Most)
}

// spaced is how many may come now, so that none of them has to wait for longer than Smooth, at a level of the bucket.
func (l *Limit) spaced(level int64, part uint64) int64 {
	r := l.rate()
	n, _, fits := divided(uint64(l.Smooth), uint64(r.most), part, uint64(r.period)) //nolint:gosec // not negative
	if !fits || n >= math.MaxInt64 {
		return l.Most
	}
	return min(max(plus(plus(int64(n), level), 1), 0), l.Most)
}

// left is what may be taken now, of Most.
func (s *state) left(l *Limit) int64 {
	switch {
	case l.bucketed() && l.Smooth > 0:
		return l.spaced(s.bucket.level, s.bucket.part)
	case l.bucketed():
		return min(max(s.bucket.level, 0), l.Most)
	case l.Of == Spend:
		return max(s.spend.left(l.Most), 0)
	}
	return max(minus(l.Most, s.held), 0)
}

// reset is how long it takes until the limit is whole again, as far as it is known.
func (s *state) reset(at instant, l *Limit) time.Duration {
	switch {
	case l.bucketed():
		r := l.rate()
		return s.bucket.wait(r.burst, r)
	case l.Of == Spend && !l.Rolling:
		return time.Duration(max(minus(s.spend.now.end, at.wall), 0))
	case l.Of == Spend && s.spend.spent > 0:
		return time.Duration(max(minus(s.spend.rolling.until(s.spend.spent), at.mono), 0))
	}
	return 0
}

func (s *state) reserve(n int64, at instant, l *Limit) {
	switch {
	case l.bucketed():
		s.bucket.take(n)
	case l.Of == Spend:
		s.spend.reserve(n)
	default:
		if s.held == 0 {
			s.since = at.mono
		}
		s.held += n
	}
}

// settle puts what was used in the place of what was reserved. kept is how long the request lasted; 0 or below: that says nothing.
func (s *state) settle(reserved, used int64, kept time.Duration, l *Limit) {
	switch {
	case l.bucketed():
		s.bucket.give(minus(reserved, used), l.rate())
	case l.Of == Spend:
		s.spend.release(reserved)
		s.spend.add(used)
	default:
		s.held -= reserved
		switch {
		case kept > 0 && s.kept == 0:
			s.kept = int64(kept)
		case kept > 0:
			s.kept = max(s.kept+(int64(kept)-s.kept)/keptMemory, 1)
		}
	}
}

// keptMemory is over how many requests the mean of how long they last goes.
const keptMemory = 16

// idle tells that a new state would say the same.
func (s *state) idle(l *Limit) bool {
	switch {
	case l.bucketed():
		return s.bucket.full(l.rate())
	case l.Of == Spend:
		return s.spend.idle()
	}
	return s.held == 0
}
