package limit

import (
	"math/bits"
	"time"
)

// shut notices that a provider refuses whatever is sent, as it does when a window is used up, until that ends. Then one request after another finds out when it is over, at ever
// longer intervals. Refusals here and there are another thing: those say that requests come too fast.
type shut struct {
	last     uint64  // that was sent
	refusals uint64  // bit i: the one i before it was refused
	took     float64 // nanoseconds that refusals take
	state    shutState
	since    int64
	until    int64 // when the next may be sent
	every    int64 // from when one is refused that finds out to the next
	probe    uint64
	long     bool // it lasts longer, or has, than what is counted of what is let through
}

type shutState uint8

const (
	shutOpen   shutState = iota
	shutDue              // the next one is to find out
	shutProbed           // one is under way that finds out
)

const (
	shutAfter = 4 // refused in a row
	shutFirst = int64(20 * time.Millisecond)
	shutMost  = int64(10 * time.Second) // between two that find out
	shutLong  = int64(time.Second)      // is longer than what is let through is counted
	// shutSure times as long as refusals take, and what is not refused was let through.
	shutSure   = 4
	shutLeast  = int64(10 * time.Millisecond)
	shutWeight = .2 // of a refusal, in how long they take
)

func (s *shut) sent(at int64, serial uint64, asked bool) {
	s.refusals <<= min(serial-s.last, 64)
	s.last = serial
	if s.state == shutDue && asked {
		s.state, s.probe, s.until = shutProbed, serial, at+max(int64(shutSure*s.took), shutLeast)
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

// over tells whether the one that finds out was let through, once.
func (s *shut) over(at int64) bool {
	if s.state != shutProbed || at < s.until {
		return false
	}
	s.state = shutOpen
	return true
}

// reopen has requests sent again.
func (s *shut) reopen() { s.state = shutOpen }

// closed is told of one that was sent at a time and refused. It tells whether it was shut before, and is now.
func (s *shut) closed(at, sentAt int64, serial uint64) (before, now bool) {
	took := float64(max(at-sentAt, 0))
	if s.took == 0 {
		s.took = took
	}
	s.took += shutWeight * (took - s.took)
	run := 0
	if ago := s.last - serial; ago < 64 {
		s.refusals |= 1 << ago
		run = bits.TrailingZeros64(^(s.refusals >> ago))
	}
	before = s.state != shutOpen
	switch {
	case s.state == shutProbed && serial == s.probe:
		s.long = s.long || at-s.since > shutLong
		s.every = min(2*s.every, shutMost)
		s.state, s.until = shutDue, at+s.every
	case !before && run >= shutAfter:
		s.state, s.since, s.every, s.until, s.long = shutDue, at, shutFirst, at+shutFirst, false
	}
	return before, s.state != shutOpen
}
