package limit

import (
	"testing"
	"time"
)

// After a quiet time a refusal says that what was sent then was too much, not what was sent in the quiet time: it comes back to near there at once.
func TestTrial_RefusedAfterQuietTime(t *testing.T) {
	t.Parallel()
	check := func(what string, known bool) {
		t.Helper()
		now := time.Unix(1_000_000_000, 0)
		p := NewPacer(now)
		ask := func(v Verdict) bool {
			s, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare)
			if wait == 0 {
				p.Answered(now, s, v, nil, 0, 0)
			}
			return wait == 0
		}
		busy := func(d, every time.Duration) {
			for end := now.Add(d); now.Before(end); now = now.Add(every) {
				ask(Through)
			}
		}
		if known {
			busy(2*time.Second, 10*time.Millisecond)
			ask(Limited)
			busy(2*time.Second, 10*time.Millisecond)
		}
		for range 60 {
			now = now.Add(5 * time.Second)
			ask(Through)
		}
		busy(1500*time.Millisecond, 10*time.Millisecond)
		before := p.State(now).Rate
		if !known {
			before = 100
		}
		for i := 0; i < 5; now = now.Add(10 * time.Millisecond) {
			if ask(Limited) {
				i++
			}
		}
		low := p.State(now).Rate
		if low < .5*before || low > .75*before {
			t.Errorf("%s: goes from %.1f a second to %.1f", what, before, low)
		}
		busy(6*time.Second, time.Millisecond)
		if got := p.State(now).Rate; got < .9*before || got > 1.05*before {
			t.Errorf("%s: from %.1f it comes back to %.1f of %.1f in six seconds", what, low, got, before)
		}
	}
	check("the first", false)
	check("another", true)
}
