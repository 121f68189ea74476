package pick

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 4, 16} {
		for _, kind := range []string{"share", "equal", "affinity"} {
			b.Run(fmt.Sprintf("targets=%d/by=%s", n, kind), func(b *testing.B) {
				specs := equals(n)
				if kind == "share" {
					for i := range specs {
						specs[i].Equal = ""
					}
				}
				w := newWorld(b, Spec{Name: "r", Targets: specs, SLO: time.Second, Affinity: kind == "affinity"})
				w.serve("r", 2000, good)
				b.ReportAllocs()
				for i := uint64(1); b.Loop(); i++ {
					walk := w.walk("r", prefixed(kind, i))
					_, _ = walk.First(w.now, mix(i+1<<40))
					walk.End()
				}
			})
		}
	}
}

// prefixed is a query with the prefix of a conversation, one of 4,096.
func prefixed(kind string, n uint64) Query {
	q := Query{Stream: true, Input: 1000}
	if kind == "affinity" {
		for i := range uint64(MaxPrefix) {
			q.Prefix.Add(mix(n%4096<<8 | i))
		}
	}
	return q
}

func BenchmarkLease(b *testing.B) {
	w := newWorld(b, Spec{Name: "r", Targets: targets("a", "b"), SLO: time.Second})
	w.serve("r", 2000, good)
	t, q := w.routes.Route("r").Target("a"), &Query{Stream: true, Input: 1000}
	r := good("a")
	b.ReportAllocs()
	for b.Loop() {
		lease := t.Begin(w.now, q)
		lease.Settle(w.now, &r)
	}
}

func TestPick_AllocatesNothing(t *testing.T) {
	w := newWorld(t, Spec{Name: "r", Targets: equals(16), SLO: time.Second, Affinity: true})
	w.serve("r", 2000, good)
	n := uint64(0)
	if allocs := testing.AllocsPerRun(2000, func() {
		n++
		walk := w.walk("r", prefixed("affinity", n))
		c, _ := walk.First(w.now, mix(n))
		lease := c.Target.Begin(w.now, walk.Query())
		lease.Settle(w.now, &Result{Outcome: Good, Took: time.Second / 2})
		walk.End()
	}); allocs > 0 {
		t.Errorf("%v allocations an exchange", allocs)
	}
}
