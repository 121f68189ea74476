package limit

import (
	"math"
	"math/bits"
	"time"
)

// shut notices that a provider refuses whatever is sent, as it does when a window is used up, until that ends. Then one request after another finds out when it is over, at ever
// longer intervals. Refusals here and there are another thing: those say that requests come too fast.
type shut struct {
	last     uint64  // that was sent
	refusals uint64  // bit i: the one i before it was refused
	unknowns uint64  // the same of what nobody knows what the provider thought of
	took     float64 // nanoseconds that refusals take
	varies   float64 // by so many
	state    shutState
	since    int64
	until    int64 // when the next may be sent
	every    int64 // from when one is refused that finds out to the next
	probe    uint64
	found    uint64 // the last of those that were to find out
	opened   int64  // when it was seen last that it was over
	long     bool   // it lasts longer, or has, than what is counted of what is let through
}

type shutState uint8

const (
	shutOpen   shutState = iota
	shutDue              // the next one is to find out
	shutProbed           // one is under way that finds out
)

const (
	shutAfter = 4 // refused in a row
	shutLone  = 2 // of 64
	shutFirst = int64(20 * time.Millisecond)
	shutMost  = int64(10 * time.Second) // between two that find out
	shutLong  = int64(time.Second)      // is longer than what is let through is counted
	// shutSure mean deviations later than refusals take, and at least twice as late, what is not refused was let through, if nothing is known of it.
	shutSure   = 4
	shutLeast  = int64(10 * time.Millisecond)
	shutWeight = .2 // of a refusal, in how long they take
)

func (s *shut) sent(at int64, serial uint64, asked bool) {
	ago := min(serial-s.last, 64)
	s.refusals, s.unknowns, s.last = s.refusals<<ago, s.unknowns<<ago, serial
	if s.state == shutDue && asked {
		sure := int64(max(s.took+shutSure*s.varies, 2*s.took))
		s.state, s.probe, s.found, s.until = shutProbed, serial, serial, at+min(max(sure, shutLeast), shutMost)
	}
}

// through is told that one was let through.
func (s *shut) through(at int64, serial uint64) {
	if s.state == shutProbed && s.probe == serial {
		s.until, s.probe = at, 0
	}
}

// unknown is told that nobody knows what the provider thought of one: if it was to find out, another one is.
func (s *shut) unknown(at int64, serial uint64) {
	if ago := s.last - serial; ago < 64 {
		s.unknowns |= 1 << ago
	}
	if s.state == shutProbed && s.probe == serial {
		s.state, s.until = shutDue, at+s.every
	}
}

// dropped takes one back that was never sent: it finds out nothing.
func (s *shut) dropped(serial uint64) {
	if s.state == shutProbed && s.probe == serial {
		s.state, s.until = shutDue, 0
	}
}

// hold is how long the next one has to wait. probe: it may go, and finds out.
func (s *shut) hold(at int64) (wait time.Duration, probe bool) {
	switch {
	case s.state == shutOpen:
		return 0, false
	case at < s.until:
		return time.Duration(s.until - at), false
	}
	return 0, s.state == shutDue
}

// over tells, once, that the one that finds out was let through, or not refused for so long that it must have been.
func (s *shut) over(at int64) bool {
	if s.state != shutProbed || at < s.until {
		return false
	}
	s.state, s.opened = shutOpen, at
	return true
}

// forget has requests sent again.
func (s *shut) forget() { *s = shut{last: s.last, took: s.took, varies: s.varies} }

// lone tells whether hardly any of the last 64 were refused, of which the refused one is.
func (s *shut) lone(serial uint64) bool {
	return s.last-serial < 64 && bits.OnesCount64(s.refusals) <= shutLone
}

// closed is told of one that was sent at a time and refused. It tells whether it was shut before, and is now. still: it was taken for over, and was not: nothing was let through since.
func (s *shut) closed(at, sentAt int64, serial uint64) (before, now, still bool) {
	took := float64(max(at-sentAt, 0))
	if s.took == 0 {
		s.took = took
	}
	s.varies += shutWeight * (math.Abs(took-s.took) - s.varies)
	s.took += shutWeight * (took - s.took)
	refused, first := s.row(serial)
	before = s.state != shutOpen
	switch {
	case s.probe > 0 && serial == s.probe: // perhaps late
		s.long = s.long || at-s.since > shutLong
		still = !before
		s.shut(at)
	case !before && refused >= shutAfter && sentAt >= s.opened:
		if still = s.opened > s.since && first <= s.found; !still {
			s.since, s.every, s.long = at, shutFirst/2, false
		}
		s.shut(at)
	}
	return before, s.state != shutOpen, still
}

// row notes a refusal. It tells how many were refused in a row with it, before and after, and which of those that nothing else is known of is the first in that row.
func (s *shut) row(serial uint64) (refused int, first uint64) {
	ago := s.last - serial
	if ago >= 64 {
		return 0, serial
	}
	s.refusals |= 1 << ago
	either := s.refusals | s.unknowns
	older := bits.TrailingZeros64(^(either >> ago))
	newer := bits.LeadingZeros64(^(either << (63 - ago))) - 1
	row := s.refusals >> (int(ago) - newer) & (1<<(older+newer) - 1) //nolint:gosec // below 64
	return bits.OnesCount64(row), serial + 1 - min(uint64(older), serial+1)
}

// shut has the next one go when twice as much time has passed as before the last.
func (s *shut) shut(at int64) {
	s.every = min(2*s.every, shutMost)
	s.state, s.until, s.probe = shutDue, at+s.every, 0
}
