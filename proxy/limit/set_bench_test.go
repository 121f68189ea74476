package limit

import (
	"fmt"
	"testing"
	"time"
)

// fiveLimits is what an operator may put on a caller, as one rule or as five.
func fiveLimits(rules int) []Rule {
	limits := []Limit{
		perMinute(Requests, 1<<40), perMinute(InputTokens, 1<<50), perMinute(OutputTokens, 1<<50), {Of: Concurrent, Most: 1 << 40}, {Of: Spend, Per: Day, Most: 1 << 60},
	}
	if rules == 1 {
		return []Rule{{Name: "all", Caller: Scope{Each: true}, Limits: limits}}
	}
	var all []Rule
	for i := range limits {
		all = append(all, Rule{Name: fmt.Sprint(i), Caller: Scope{Each: i%2 == 0}, Route: Scope{Each: i%2 == 1}, Limits: limits[i : i+1]})
	}
	return all
}

func TestSet_AllocatesNothing(t *testing.T) {
	for _, rules := range []int{1, 5} {
		w := newWorld(t, Options{}, fiveLimits(rules)...)
		q := Request{Caller: 7, Route: 3, Input: 1000, Output: 300, Cost: 5_000_000}
		for range 1000 {
			w.Settle(w.now, w.admit(q), Usage{Input: 900, Output: 200, Cost: 4_000_000})
		}
		if n := testing.AllocsPerRun(1000, func() {
			w.now = w.now.Add(time.Millisecond)
			lease, _ := w.Reserve(w.now, &q)
			w.Settle(w.now, lease, Usage{Input: 900, Output: 200, Cost: 4_000_000})
		}); n != 0 {
			t.Errorf("%d rules: %v allocations", rules, n)
		}
	}
	w := newWorld(t, Options{}, Rule{Name: "none", Limits: []Limit{perMinute(Requests, 0)}})
	if n := testing.AllocsPerRun(1000, func() { w.Reserve(w.now, &Request{}) }); n != 0 {
		t.Errorf("a refusal: %v allocations", n)
	}
}

// Admission alone; what was reserved is given back while the clock stands.
func BenchmarkReserve(b *testing.B) {
	for _, rules := range []int{1, 5} {
		for _, callers := range []int{1, 1000} {
			b.Run(fmt.Sprintf("limits=5/rules=%d/callers=%d", rules, callers), func(b *testing.B) {
				w := newWorld(b, Options{}, fiveLimits(rules)...)
				q := Request{Route: 3, Input: 1000, Output: 300, Cost: 5_000_000}
				leases := make([]Lease, 0, 4096)
				back := func() {
					for _, l := range leases {
						w.Cancel(w.now, l)
					}
					leases = leases[:0]
				}
				for i := range cap(leases) {
					q.Caller = ID(1 + i%callers)
					leases = append(leases, w.admit(q))
				}
				back()
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if len(leases) == cap(leases) {
						b.StopTimer()
						back()
						b.StartTimer()
					}
					q.Caller = ID(1 + i%callers)
					w.now = w.now.Add(time.Microsecond)
					lease, _ := w.Reserve(w.now, &q)
					leases = append(leases, lease)
				}
			})
		}
	}
}

// One hot caller, 64 goroutines on two processors: reserve and settle.
func BenchmarkReserve_Contended(b *testing.B) {
	for _, rules := range []int{1, 5} {
		b.Run(fmt.Sprintf("limits=5/rules=%d", rules), func(b *testing.B) {
			w := newWorld(b, Options{}, fiveLimits(rules)...)
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				q := Request{Caller: 7, Route: 3, Input: 1000, Output: 300, Cost: 5_000_000}
				for now := w.now; pb.Next(); now = now.Add(time.Microsecond) {
					lease, _ := w.Reserve(now, &q)
					w.Settle(now, lease, Usage{Input: 900, Output: 200, Cost: 4_000_000})
				}
			})
		})
	}
}
