package limit

import (
	"testing"
	"time"
)

// A time that was read before a stall is as late as the last, and moves nothing; a clock that was set back goes on.
func TestClock(t *testing.T) {
	t.Parallel()
	var c clock
	const s = int64(time.Second)
	check := func(given, want int64) {
		t.Helper()
		if got := c.read(given, false); got != want {
			t.Errorf("%v: got %v, want %v", time.Duration(given), time.Duration(got), time.Duration(want))
		}
	}
	check(100*s, 100*s)
	check(100*s-s/2, 100*s)
	for _, stale := range []int64{40 * s, 41 * s, 95 * s} {
		check(stale, 100*s)
	}
	check(101*s, 101*s)
	for range 20 { // a whole crowd stood still
		check(97*s, 101*s)
	}
	check(102*s, 102*s)
	for i := range int64(3) {
		check(50*s+i*s, 102*s)
	}
	check(53*s, 102*s) // it was set back
	check(54*s, 103*s)
	check(60*s, 109*s)
	check(10*s, 109*s)
	check(61*s, 110*s)

	c = clock{}
	for _, given := range []int64{100 * s, 90 * s, 91 * s, 92 * s, 93 * s} { // of a clock that is never set nothing tells it apart from a crowd
		if got := c.read(given, true); got != 100*s {
			t.Errorf("%v of a steady clock: %v", time.Duration(given), time.Duration(got))
		}
	}
	if got := c.read(101*s, true); got != 101*s {
		t.Errorf("a steady clock went on to %v", time.Duration(got))
	}
}

// A stall does not shift what the provider has said: until when it wants to be left alone, and when a limit is whole again.
func TestPacer_StaleTimes(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.tell(Limited, 10*time.Second)
	for range 10 {
		u.now = u.now.Add(time.Second)
		u.Take(u.now, Need{Input: 1, Output: 1}, DefaultShare)
		u.Take(u.now.Add(-20*time.Second), Need{Input: 1, Output: 1}, DefaultShare)
	}
	if got := u.State(u.now).Paused; got != 500*time.Millisecond {
		t.Errorf("paused for another %v", got)
	}
}
