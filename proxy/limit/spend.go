package limit

import (
	"math"
	"time"
)

// unsettled is when to come back where only what is reserved stands in the way: nobody knows when those requests end.
const unsettled = time.Second

// spend is how much of a budget is gone. What is reserved counts for as long as it is, whatever window it is from; what is settled counts in the window of that moment.
type spend struct {
	reserved int64 // by requests under way
	spent    int64 // in the window
	last     int64 // mono of the latest look
	now      calendarWindow
	before   calendarWindow // the window before: a clock that is set back returns to it
	rolling  *ring
}

type calendarWindow struct{ begin, end, spent int64 }

// roll brings the window to now: wall is Unix nanoseconds, mono those of a clock that is not set.
func (s *spend) roll(at instant, l *Limit) {
	if l.Rolling {
		if s.rolling == nil {
			s.rolling = &ring{width: int64(l.Per.Length()) / ringSlots}
		}
		s.spent = s.rolling.roll(at)
		return
	}
	if at.steady && at.mono < s.last {
		return // read before its goroutine had to wait: no clock was set
	}
	s.last = at.mono
	if early := minus(s.now.begin, at.wall); early <= min(int64(time.Hour), int64(l.Per.Length()/2)) && at.wall < s.now.end {
		return // also where a clock was corrected by a little
	}
	was := s.now
	was.spent = s.spent
	s.now.begin, s.now.end = l.Per.bounds(at.wall, l.zone())
	switch {
	case at.wall >= was.end: // also the first time
		s.before, s.spent = was, 0
	case at.wall >= s.before.begin && at.wall < s.before.end: // set back into the window before: what was spent in either counts
		s.spent = plus(s.spent, s.before.spent)
		s.before = calendarWindow{}
	}
	// A clock that is set back further opens no budget: what is spent stays.
}

// left is what may still be reserved; below 0 where the budget is overspent.
func (s *spend) left(most int64) int64 { return minus(minus(most, s.spent), s.reserved) }

// wait is how long it takes until n may be reserved, and whether it ever may. The window was rolled to at.
func (s *spend) wait(n int64, at instant, l *Limit) (wait time.Duration, never bool) {
	n = max(n, 0)
	if s.left(l.Most) >= n {
		return 0, false
	}
	if n > l.Most {
		return math.MaxInt64, true
	}
	if minus(l.Most, s.spent) >= n {
		return unsettled, false
	}
	if !l.Rolling {
		return time.Duration(max(minus(s.now.end, at.wall), 1)), false
	}
	return time.Duration(max(minus(s.rolling.until(minus(n, minus(l.Most, s.spent))), at.mono), 1)), false
}

func (s *spend) reserve(n int64) { s.reserved = plus(s.reserved, n) }

func (s *spend) release(n int64) { s.reserved = minus(s.reserved, n) }

func (s *spend) add(n int64) {
	s.spent = plus(s.spent, n)
	if s.rolling != nil {
		s.rolling.add(n)
	}
}

// idle tells that nothing of the budget is gone.
func (s *spend) idle() bool { return s.spent == 0 && s.reserved == 0 }

// ringSlots is into how many slots a rolling window is cut. A slot counts until all of it is past, so that a window is up to a slot longer than it says and never
// shorter.
const ringSlots = 60

// ring is what was spent lately, by slots of width nanoseconds.
type ring struct {
	width int64
	head  int64 // number of the slot that is added to
	slots [ringSlots + 1]int64
}

// roll drops what is past and says what is left in all.
func (r *ring) roll(at instant) (sum int64) {
	number := at.mono / r.width
	switch {
	case number > r.head:
		for i := range min(apart(number, r.head), uint64(len(r.slots))) {
			r.slots[slotAt(number, i)] = 0
		}
		r.head = number
	case minus(r.head, number) > 1 && at.setBack(r.head*r.width): // everything stays as old as it is
		var moved [ringSlots + 1]int64
		for i := range uint64(len(r.slots)) {
			moved[slotAt(number, i)] = r.slots[slotAt(r.head, i)]
		}
		r.slots, r.head = moved, number
	}
	for _, n := range r.slots {
		sum = plus(sum, n)
	}
	return sum
}

// slotAt is the index of the slot that is back slots before the one of that number.
func slotAt(number int64, back uint64) int {
	const n = ringSlots + 1
	return int(((number%n+n)%n - int64(back%n) + n) % n) //nolint:gosec // below n
}

func (r *ring) add(n int64) {
	slot := &r.slots[slotAt(r.head, 0)]
	*slot = plus(*slot, n)
}

// until is when n of what was spent is past.
func (r *ring) until(n int64) int64 {
	for back := len(r.slots) - 1; back >= 0; back-- {
		if n = minus(n, r.slots[slotAt(r.head, uint64(back))]); n <= 0 { //nolint:gosec // an index
			return plus(r.head*r.width, int64(len(r.slots)-back)*r.width)
		}
	}
	return plus(r.head*r.width, int64(len(r.slots))*r.width)
}
