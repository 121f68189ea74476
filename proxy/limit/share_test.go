package limit

import "testing"

// Each attempt goes by its own share of the limits, whoever else asks meanwhile.
func TestPacer_ShareIsTheAttemptsOwn(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	for range 4 {
		u.tell(Through, 0, "x-ratelimit-limit-requests", 1000, "x-ratelimit-remaining-requests", 300, "x-ratelimit-reset-requests", "40s")
	}
	for range 3 {
		if _, wait := u.Take(u.now, Need{Input: 1, Output: 1}, .5); wait == 0 || u.RetryIn(u.now, .5) == 0 {
			t.Errorf("half of it is used up: waits %v, and says %v", wait, u.RetryIn(u.now, .5))
		}
		s, wait := u.Take(u.now, Need{Input: 1, Output: 1}, 1)
		if wait > 0 || u.RetryIn(u.now, 1) > 0 {
			t.Errorf("there is room for who may use all: waits %v, and says %v", wait, u.RetryIn(u.now, 1))
		}
		u.Dropped(s)
		if wait := u.RetryIn(u.now, .5); wait == 0 {
			t.Error("half of it is used up, whoever asked last")
		}
	}
	if got := u.State(u.now).Rate; got < 7 || got > 8 {
		t.Errorf("%v a second are shown of 300 in 40 s", got)
	}
}
