package limit

import (
	"testing"
	"time"
)

// Refusals that come at once are one sign, and those that go on are one a second.
func TestPacer_Episodes(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000_000, 0)
	p := NewPacer(now)
	crowd := func(n int, v Verdict, spread time.Duration) (episodes int) {
		t.Helper()
		sent := make([]Sent, n)
		for i := range sent {
			for {
				var wait time.Duration
				if sent[i], wait = p.Take(now, Need{Input: 1, Output: 1}, DefaultShare); wait == 0 {
					break
				}
				now = now.Add(wait)
			}
		}
		for i := range sent {
			if p.Answered(now, sent[i], v, nil, 0, 0) == Episode {
				episodes++
			}
			now = now.Add(spread / time.Duration(n))
		}
		return episodes
	}
	if got := crowd(40, Limited, 500*time.Millisecond); got != 1 {
		t.Errorf("one window refuses 40: %d episodes", got)
	}
	now = now.Add(10 * time.Second)
	if got := crowd(1, Through, 0) + crowd(1, Other, 0); got != 0 {
		t.Errorf("none refused: %d episodes", got)
	}
	if got := crowd(1, Limited, 0); got != 1 {
		t.Errorf("another time: %d episodes", got)
	}
	now = now.Add(10 * time.Second)
	if got := crowd(50, Limited, 5*time.Second); got != 5 {
		t.Errorf("refused for five seconds: %d episodes", got)
	}
}
