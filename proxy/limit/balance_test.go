package limit

import (
	"testing"
	"time"
)

// What was spent outlives a restart, for as long as its window lasts.
func TestSet_BalancesOutliveRestarts(t *testing.T) {
	t.Parallel()
	rules := []Rule{
		{Name: "month", Caller: Scope{Each: true}, Limits: []Limit{{Of: Spend, Per: Month, Most: 1000}, perMinute(Requests, 100)}},
		{Name: "hour", Limits: []Limit{{Of: Spend, Per: Hour, Most: 500, Rolling: true}}},
	}
	w := newWorld(t, Options{}, rules...)
	for range 4 {
		w.Settle(w.now, w.admit(Request{Caller: 7, Cost: 100}), Usage{Cost: 100})
		w.now = w.now.Add(10 * time.Minute)
	}
	w.admit(Request{Caller: 8, Cost: 50}) // under way: gone with the process
	saved := w.Balances(nil, w.now)
	if len(saved) != 5 {
		t.Fatalf("%d balances: %+v", len(saved), saved)
	}
	again := func(after time.Duration, month, hour int64, of int) {
		t.Helper()
		n := newWorld(t, Options{}, rules...)
		n.now = w.now.Add(after)
		n.Set = New(n.now, Options{})
		n.rules(rules...)
		if got := n.Restore(n.now, append(saved, Balance{Rule: "gone"})); got != of {
			t.Errorf("after %v: %d were of use, want %d", after, got, of)
		}
		st := n.Standings(nil, n.now, &Request{Caller: 7})
		if st[0].Left != month || st[2].Left != hour {
			t.Errorf("after %v: %d and %d left, want %d and %d", after, st[0].Left, st[2].Left, month, hour)
		}
	}
	again(0, 600, 100, 5)
	again(30*time.Minute, 600, 200, 4)
	again(2*time.Hour, 600, 500, 1)
	again(24*time.Hour, 1000, 500, 0) // the 1st of February
}
