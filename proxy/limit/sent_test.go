package limit

import (
	"fmt"
	"testing"
	"time"
)

// What is let through, or held back, by limits that the provider tells of is told apart from what is so by trial, and by a pause.
func TestSent_Told(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000_000, 0)
	headers := func(left int) *Headers {
		h := &Headers{}
		h.Add([]byte("x-ratelimit-limit-requests"), []byte("100"), now)
		h.Add([]byte("x-ratelimit-remaining-requests"), fmt.Append(nil, left), now)
		h.Add([]byte("x-ratelimit-reset-requests"), []byte("60s"), now)
		return h
	}
	p := NewPacer(now)
	for left := 99; ; left-- {
		s, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare)
		if wait > 0 {
			if !s.Told() || s.Lacks() != Requests || left > 70 {
				t.Errorf("held back with %d left: %v", left, s.Told())
			}
			break
		}
		if trusted := p.State(now).Trusted; s.Told() != trusted || trusted != (left < 97) {
			t.Errorf("%d left: told %v, trusted %v", left, s.Told(), trusted)
		}
		p.Answered(now, s, Through, headers(left), 0, 0)
	}

	p = NewPacer(now)
	s, _ := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare)
	p.Answered(now, s, Limited, nil, time.Minute, 0)
	if s, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare); wait != time.Minute || s.Told() {
		t.Errorf("paused for %v: %v", wait, s.Told())
	}
	now = now.Add(time.Minute)
	for i := 0; ; i++ {
		s, wait := p.Take(now, Need{Input: 1, Output: 1}, DefaultShare)
		if s.Told() {
			t.Fatal("by trial")
		}
		if wait > 0 || i > 1000 {
			break
		}
	}
}
