package admission

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llm-auto-optimizer/proxy/limit"
)

var waits = Options{MaxWait: 2 * time.Second, Waiters: 1000, Jitter: time.Millisecond}

func gate(t *testing.T, o Options, rules ...limit.Rule) *Gate {
	t.Helper()
	g := New(time.Now(), limit.Options{}, o)
	if err := g.Configure(time.Now(), rules, o); err != nil {
		t.Fatal(err)
	}
	return g
}

func atATime(name string, n int64) limit.Rule {
	return limit.Rule{Name: name, Limits: []limit.Limit{{Of: limit.Concurrent, Most: n}}}
}

func empty(t *testing.T, g *Gate) {
	t.Helper()
	time.Sleep(debtKept) // rooms stay for a while
	g.Sweep(time.Now())
	g.mu.Lock()
	defer g.mu.Unlock()
	if held, leaked := g.set.Leases(); held != 0 || leaked != 0 || len(g.rooms) != 0 || g.waiting.Load() != 0 {
		t.Errorf("left over: %d leases, %d leaked, %d rooms, %d waiting", held, leaked, len(g.rooms), g.waiting.Load())
	}
}

// Who waits is let in when somebody leaves, in order.
func TestGate_Wait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, atATime("one", 1))
		first, _, refusal, err := g.Enter(t.Context(), &limit.Request{}, 0)
		if err != nil || refusal.Refused() || !first.Held() {
			t.Fatal(refusal, err)
		}
		var order []int
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				p, _, refusal, err := g.Enter(t.Context(), &limit.Request{}, 0)
				if err != nil || refusal.Refused() {
					t.Error(i, refusal, err)
				}
				order = append(order, i) // one at a time
				time.Sleep(100 * time.Millisecond)
				g.Leave(&p, Usage{Input: 1})
			})
			synctest.Wait()
		}
		if n := g.Waiting(); n != 3 {
			t.Errorf("%d wait", n)
		}
		g.Leave(&first, Usage{})
		wg.Wait()
		if len(order) != 3 || order[0] != 0 || order[1] != 1 || order[2] != 2 {
			t.Errorf("order %v", order)
		}
		empty(t, g)
	})
}

// Waiting ends after its time, when the client leaves, and it never begins where it is of no use.
func TestGate_WaitInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, atATime("one", 1), limit.Rule{
			Name: "minute", Caller: limit.Scope{Only: 7}, Limits: []limit.Limit{{Of: limit.Requests, Per: limit.Minute, Most: 1}},
		}, limit.Rule{Name: "never", Caller: limit.Scope{Only: 8}, Limits: []limit.Limit{{Of: limit.Requests, Per: limit.Minute, Most: 0}}})
		first, _, _, _ := g.Enter(t.Context(), &limit.Request{Caller: 7}, 0)
		start := time.Now()
		if _, _, refusal, _ := g.Enter(t.Context(), &limit.Request{Caller: 7}, 0); !refusal.Refused() || refusal.Rule != "minute" || time.Since(start) != 0 {
			t.Errorf("a minute's limit: %+v after %v", refusal, time.Since(start))
		}
		if _, _, refusal, _ := g.Enter(t.Context(), &limit.Request{Caller: 8}, 0); !refusal.Never || time.Since(start) != 0 {
			t.Errorf("never: %+v after %v", refusal, time.Since(start))
		}
		if _, _, refusal, _ := g.Enter(t.Context(), &limit.Request{}, 0); refusal.Rule != "one" || time.Since(start) != 2*time.Second || g.Late.Load() != 1 {
			t.Errorf("late: %+v after %v", refusal, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start = time.Now()
		if _, _, _, err := g.Enter(ctx, &limit.Request{}, 0); err == nil || time.Since(start) != 500*time.Millisecond {
			t.Errorf("left: %v after %v", err, time.Since(start))
		}
		g.Cancel(&first)
		empty(t, g)
	})
}

// A limit of one caller does not hold up others, and who comes later waits behind those who wait.
func TestGate_Fair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, waits, atATime("all", 4), limit.Rule{Name: "each", Caller: limit.Scope{Each: true}, Limits: []limit.Limit{{Of: limit.Concurrent, Most: 3}}})
		var got [3]atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for who, crowd := range []int{0, 30, 3} { // the first wants nothing
			for range crowd {
				wg.Go(func() {
					for ctx.Err() == nil {
						p, delay, refusal, err := g.Enter(ctx, &limit.Request{Caller: limit.ID(who), Input: 100}, 0)
						if err != nil || refusal.Refused() {
							continue
						}
						time.Sleep(delay + 50*time.Millisecond)
						got[who].Add(1)
						g.Leave(&p, Usage{Input: 100})
					}
				})
			}
		}
		wg.Wait()
		many, few := got[1].Load(), got[2].Load()
		if sum := many + few; sum < 1200 || float64(few) < .45*float64(sum) {
			t.Errorf("ten times as many get %d, few %d", many, few)
		}
		empty(t, g)
	})
}

// Budgets hold whatever comes at once, and what leaks comes back.
func TestGate_BudgetAndLeak(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(t, Options{Waiters: 1}, limit.Rule{Name: "day", Limits: []limit.Limit{{Of: limit.Spend, Per: limit.Day, Most: 1000}, {Of: limit.Concurrent, Most: 50}}})
		var in atomic.Int64
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				p, _, refusal, _ := g.Enter(t.Context(), &limit.Request{Cost: 100}, 0)
				if refusal.Refused() {
					return
				}
				in.Add(1)
				g.Leave(&p, Usage{Cost: 110})
			})
		}
		wg.Wait()
		if n := in.Load(); n > 10 || n < 9 {
			t.Errorf("%d of 10 were let in", n)
		}
		g = gate(t, waits, atATime("one", 1))
		lost, _, _, _ := g.Enter(t.Context(), &limit.Request{}, 0)
		time.Sleep(limit.DefaultLease + time.Second)
		g.Sweep(time.Now())
		p, _, refusal, _ := g.Enter(t.Context(), &limit.Request{}, 0)
		if refusal.Refused() {
			t.Errorf("still leaked: %+v", refusal)
		}
		g.Leave(&lost, Usage{}) // its slot is another's
		if _, refusal := g.TryEnter(&limit.Request{}); !refusal.Refused() {
			t.Error("a slot was given back twice")
		}
		g.Leave(&p, Usage{})
	})
}
