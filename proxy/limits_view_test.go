package proxy

import (
	"testing"

	"llm-auto-optimizer/proxy/limit"
)

// An untouched limit is all left, though not all of it may come at once.
func TestLeftOf(t *testing.T) {
	t.Parallel()
	check := func(left, holds, want int64) {
		t.Helper()
		if got := leftOf(&limit.Standing{Left: left, Holds: holds, Limit: limit.Limit{Most: 600}}); got != want {
			t.Errorf("%d of %d: %d, want %d", left, holds, got, want)
		}
	}
	check(11, 11, 600)
	check(0, 11, 0)
	check(15, 30, 300)
	check(599, 600, 599)
	check(0, 0, 0)
}
