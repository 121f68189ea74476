package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// world is a set with a clock.
type world struct {
	testing.TB
	*Set
	now time.Time
}

func newWorld(t testing.TB, o Options, rules ...Rule) *world {
	t.Helper()
	w := &world{TB: t, now: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
	w.Set = New(w.now, o)
	w.rules(rules...)
	return w
}

func (w *world) rules(rules ...Rule) {
	w.Helper()
	if err := w.Configure(w.now, rules); err != nil {
		w.Fatal(err)
	}
}

// admit reserves, which has to go well.
func (w *world) admit(q Request) Lease {
	w.Helper()
	lease, r := w.Reserve(w.now, &q)
	if r.Refused() {
		w.Fatalf("%+v refused by %s: %s, retry in %v", q, r.Rule, r.Limit.Of, r.Retry)
	}
	return lease
}

// refuse reserves, which must not go well.
func (w *world) refuse(q Request, rule string, of Dimension, retry time.Duration) Refusal {
	w.Helper()
	lease, r := w.Reserve(w.now, &q)
	if !r.Refused() || lease != (Lease{}) || r.Rule != rule || r.Limit.Of != of || r.Retry != retry {
		w.Errorf("%+v: refused %v by %s, %s, retry in %v; want %s, %s, %v", q, r.Refused(), r.Rule, r.Limit.Of, r.Retry, rule, of, retry)
	}
	return r
}

func perMinute(of Dimension, n int64) Limit { return Limit{Of: of, Per: Minute, Most: n} }

func TestSet_WhoseLimit(t *testing.T) {
	t.Parallel()
	a, b, chat, code, gpt := Name("a"), Name("b"), Name("chat"), Name("code"), Name("gpt")
	w := newWorld(t, Options{},
		Rule{Name: "a", Caller: Scope{Only: a}, Limits: []Limit{perMinute(Requests, 3)}},
		Rule{Name: "each", Caller: Scope{Each: true}, Route: Scope{Only: chat}, Limits: []Limit{perMinute(Requests, 2)}},
		Rule{Name: "all", Limits: []Limit{perMinute(Requests, 6)}},
		Rule{Name: "gpt", Target: Scope{Only: gpt}, Limits: []Limit{perMinute(Requests, 1)}},
	)
	w.admit(Request{Caller: a, Route: chat, Part: Exchange})
	w.admit(Request{Caller: a, Route: chat, Part: Exchange})
	if r := w.refuse(Request{Caller: a, Route: chat, Part: Exchange}, "each", Requests, 30*time.Second); r.Caller != a || r.Route != chat || r.Target != 0 || r.Left != 0 {
		t.Errorf("whose: %+v", r)
	}
	w.admit(Request{Caller: a, Route: code, Part: Exchange})
	if r := w.refuse(Request{Caller: a, Route: code, Part: Exchange}, "a", Requests, 20*time.Second); r.Caller != a || r.Route != 0 {
		t.Errorf("whose: %+v", r)
	}
	w.admit(Request{Caller: b, Route: chat, Part: Exchange})
	w.admit(Request{Caller: b, Route: chat, Part: Exchange})
	w.admit(Request{Caller: b, Route: code, Part: Exchange})
	if r := w.refuse(Request{Caller: b, Route: code, Part: Exchange}, "all", Requests, 10*time.Second); r.Caller != 0 {
		t.Errorf("whose: %+v", r)
	}
	w.refuse(Request{Caller: a, Route: chat, Part: Exchange}, "each", Requests, 30*time.Second) // of three that refuse, the one that opens last
	w.admit(Request{Caller: a, Route: chat, Target: gpt, Part: Attempt})
	if r := w.refuse(Request{Caller: a, Route: chat, Target: gpt, Part: Attempt}, "gpt", Requests, time.Minute); r.Target != gpt {
		t.Errorf("whose: %+v", r)
	}
	w.admit(Request{Caller: a, Route: chat, Target: Name("other"), Part: Attempt}) // another target has room
	w.now = w.now.Add(time.Minute)
	w.admit(Request{Caller: a, Route: chat, Target: gpt})
	if st := w.Standings(nil, w.now, &Request{Caller: a, Route: chat, Target: gpt}); len(st) != 4 || st[0].Left != 2 || st[0].Reset != 20*time.Second || st[3].Reset != time.Minute {
		t.Errorf("standings: %+v", st)
	}
}

// What one limit refuses is taken from none.
func TestSet_AllOrNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{},
		Rule{Name: "first", Limits: []Limit{perMinute(Requests, 100), perMinute(InputTokens, 1000), {Of: Concurrent, Most: 10}, {Of: Spend, Per: Day, Most: 1000}}},
		Rule{Name: "second", Caller: Scope{Each: true}, Limits: []Limit{perMinute(OutputTokens, 50)}},
	)
	q := Request{Caller: 1, Input: 100, Output: 40, Cost: 7}
	lease := w.admit(q)
	before := fmt.Sprint(w.Standings(nil, w.now, &q))
	w.refuse(q, "second", OutputTokens, 36*time.Second)
	if after := fmt.Sprint(w.Standings(nil, w.now, &q)); after != before {
		t.Errorf("a refusal took something: %s, before %s", after, before)
	}
	if !w.Cancel(w.now, lease) || w.Cancel(w.now, lease) || w.Settle(w.now, lease, Usage{}) {
		t.Error("a lease ends once")
	}
	for _, st := range w.Standings(nil, w.now, &q) {
		if st.Left != st.Limit.Most {
			t.Errorf("%s: %d of %d left after a cancel", st.Limit.Of, st.Left, st.Limit.Most)
		}
	}
	w.Settle(w.now, w.admit(q), Usage{Input: 300, Output: 60, Cost: 9})
	for i, want := range []int64{99, 700, 10, 991, 0} {
		if st := w.Standings(nil, w.now, &q)[i]; st.Left != want {
			t.Errorf("%s: %d left, want %d", st.Limit.Of, st.Left, want)
		}
	}
	w.refuse(q, "second", OutputTokens, 60*time.Second) // 10 in debt, and it takes 40
	w.Charge(w.now, &q, Usage{Input: 700, Cost: 991})
	w.now = w.now.Add(time.Minute)
	w.refuse(q, "first", Spend, 11*time.Hour+59*time.Minute)
}

func TestSet_ObserveOnlyCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Rule{Name: "watched", Observe: true, Limits: []Limit{perMinute(Requests, 2), {Of: Concurrent, Most: 1}, {Of: Spend, Per: Hour, Most: 5}}})
	for range 5 {
		w.Settle(w.now, w.admit(Request{Cost: 2}), Usage{Cost: 2})
	}
	if st := w.Stats(); st[0].Met != 3 || st[0].Spent != 10 {
		t.Errorf("%+v", st)
	}
}

// A slot that is never given back is free again when its lease ends.
func TestSet_LeakedSlotsComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Lease: time.Minute}, Rule{Name: "slots", Limits: []Limit{{Of: Concurrent, Most: 2}, {Of: Spend, Per: Month, Most: 10}}})
	leaked := w.admit(Request{Owner: 1, Cost: 5})
	kept := w.admit(Request{Owner: 2, Cost: 5})
	w.now = w.now.Add(40 * time.Second)
	w.refuse(Request{}, "slots", Concurrent, 20*time.Second) // none has ended yet: by the age of the oldest
	if !w.Renew(w.now, kept) {
		t.Error("a lease that is held can't be renewed")
	}
	w.now = w.now.Add(20 * time.Second)
	w.admit(Request{Cost: 5})
	if w.Settle(w.now, leaked, Usage{}) || w.Renew(w.now, leaked) || w.Renew(w.now, Lease{}) || w.Cancel(w.now, Lease{shard: 99}) {
		t.Error("a lease that has ended is settled")
	}
	w.refuse(Request{}, "slots", Concurrent, 30*time.Second)
	w.now = w.now.Add(time.Hour)
	if ended, _ := w.Sweep(w.now); ended != 2 {
		t.Errorf("%d leases ended", ended)
	}
	if held, leaks := w.Leases(); held != 0 || leaks != 3 {
		t.Errorf("%d held, %d leaked", held, leaks)
	}
}

// When slots come back is told by how long they were kept.
func TestSet_ConcurrencyRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Rule{Name: "slots", Limits: []Limit{{Of: Concurrent, Most: 4}}})
	for range 200 {
		lease := w.admit(Request{})
		w.now = w.now.Add(2 * time.Second)
		w.Settle(w.now, lease, Usage{})
	}
	for range 4 {
		w.admit(Request{})
	}
	_, r := w.Reserve(w.now, &Request{})
	if r.Retry < 490*time.Millisecond || r.Retry > 510*time.Millisecond {
		t.Errorf("retry in %v", r.Retry)
	}
}

func TestSet_ConfigureKeepsCounts(t *testing.T) {
	t.Parallel()
	limits := func(n int64) []Limit { return []Limit{perMinute(Requests, n), {Of: Spend, Per: Month, Most: n}} }
	w := newWorld(t, Options{}, Rule{Name: "r", Caller: Scope{Each: true}, Limits: limits(10)})
	q := Request{Caller: 1, Cost: 4}
	w.Settle(w.now, w.admit(q), Usage{Cost: 4})
	open := w.admit(q)
	w.rules(Rule{Name: "r", Caller: Scope{Each: true}, Limits: append([]Limit{{Of: Concurrent, Most: 1}}, limits(20)...)})
	check := func(want ...int64) {
		t.Helper()
		for i, st := range w.Standings(nil, w.now, &q) {
			if st.Left != want[i] {
				t.Errorf("%s: %d left, want %d", st.Limit.Of, st.Left, want[i])
			}
		}
	}
	check(1, 18, 12)
	w.Settle(w.now, open, Usage{Cost: 1}) // reserved under rules that did not count slots
	check(1, 18, 15)
	w.rules(Rule{Name: "other", Limits: limits(1)}, Rule{Name: "r", Caller: Scope{Each: true}, Limits: limits(5)})
	check(3, 0, 1, 1)
	for _, bad := range [][]Rule{
		{{Name: "x"}, {Name: "x"}}, {{Limits: []Limit{{Of: Requests}}}}, {{Limits: []Limit{{Of: 99, Per: Day}}}}, {{Limits: []Limit{{Of: Spend, Per: Day, Burst: 1}}}},
		{{Limits: []Limit{{Of: Tokens, Per: Day, Rolling: true}}}}, {{Limits: []Limit{perMinute(Requests, -1)}}}, {{Limits: append(limits(1), limits(2)...)}},
	} {
		if err := w.Configure(w.now, bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	check(3, 0, 1, 1)
}

// Callers beyond the bound share an entry; nobody flushes a budget by coming under many names; who is idle goes.
func TestSet_BoundedEntries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Entries: 64, Idle: time.Minute}, Rule{Name: "each", Caller: Scope{Each: true}, Limits: []Limit{{Of: Spend, Per: Day, Most: 10}, perMinute(Requests, 5)}})
	w.Settle(w.now, w.admit(Request{Caller: 1, Cost: 10}), Usage{Cost: 10})
	shared := 0
	for i := range ID(10_000) {
		lease, r := w.Reserve(w.now, &Request{Caller: i + 2})
		if r.Refused() {
			if shared++; !r.Shared || r.Rule != "each" {
				t.Fatalf("%+v", r)
			}
			continue
		}
		if i%2 == 0 {
			w.Cancel(w.now, lease)
		}
	}
	if n := w.Stats()[0].Entries; n > 64 || shared < 1000 {
		t.Errorf("%d entries, %d came too many", n, shared)
	}
	w.refuse(Request{Caller: 1, Cost: 1}, "each", Spend, 12*time.Hour)
	w.now = w.now.Add(2 * time.Minute)
	if w.Sweep(w.now); w.Stats()[0].Entries < 2 {
		t.Errorf("%d entries: those with leases and with spend stay", w.Stats()[0].Entries)
	}
	w.now = w.now.Add(24 * time.Hour)
	if w.Sweep(w.now); w.Stats()[0].Entries != 0 {
		t.Errorf("%d entries the next day", w.Stats()[0].Entries)
	}
}

// 200 at a time against a budget for 10: as many come through as the budget reserves, whatever they cost in the end.
func TestSet_BudgetIsNotOvershot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{}, Rule{Name: "budget", Limits: []Limit{{Of: Spend, Per: Day, Most: 1000}}})
	var through, spent atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for range 20 {
				lease, r := w.Reserve(w.now, &Request{Cost: 100})
				if r.Refused() {
					continue
				}
				through.Add(1)
				w.Settle(w.now, lease, Usage{Cost: 120}) // a fifth more than was thought
				spent.Add(120)
			}
		})
	}
	wg.Wait()
	// At most 10 are under way at a time, each 20 over its reservation.
	if through.Load() > 10 || spent.Load() > 1000+10*20 || spent.Load() < 880 {
		t.Errorf("%d through, %d spent", through.Load(), spent.Load())
	}
}

// A million exchanges at a time, with faults, cancels, leaks and new rules: what is settled is the sum of what they cost, and no slot and no reservation is left.
func TestSet_SettlesExactly(t *testing.T) {
	t.Parallel()
	exchanges, workers := 1_000_000, 64
	if raceEnabled || testing.Short() {
		exchanges = 100_000
	}
	start := time.Date(2026, 1, 31, 23, 59, 0, 0, time.UTC)
	rules := func(n int64) []Rule {
		return []Rule{
			{Name: "each", Caller: Scope{Each: true}, Limits: []Limit{perMinute(Requests, n), perMinute(Tokens, n*1000), {Of: Concurrent, Most: 1000}, {Of: Spend, Per: Month, Most: 1 << 60}}},
			{Name: "all", Limits: []Limit{{Of: Concurrent, Most: 50}, {Of: Spend, Per: Minute, Most: 1 << 60, Rolling: true}}},
			{Name: "route", Route: Scope{Each: true}, Observe: true, Limits: []Limit{perMinute(OutputTokens, n), {Of: Spend, Per: Day, Most: 1 << 40}}},
		}
	}
	s := New(start, Options{Lease: 20 * time.Second})
	if err := s.Configure(start, rules(1<<40)); err != nil {
		t.Fatal(err)
	}
	var spent, clock, refused atomic.Int64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			draw := rand.New(rand.NewPCG(7, uint64(worker)))
			for range exchanges / workers {
				now := start.Add(time.Duration(clock.Add(int64(draw.IntN(200_000)))))
				if draw.IntN(1000) == 0 {
					now = now.Add(time.Duration(draw.Int64N(int64(time.Hour))) - 30*time.Minute) // a clock that is wrong
				}
				cost := draw.Int64N(1e9)
				q := Request{Caller: ID(1 + draw.IntN(8)), Route: ID(1 + draw.IntN(3)), Input: draw.Int64N(1000), Output: draw.Int64N(1000), Cost: draw.Int64N(1e9)}
				lease, r := s.Reserve(now, &q)
				switch draw.IntN(10) {
				case 0:
					s.Cancel(now, lease)
					continue
				case 1:
					if r.Refused() {
						refused.Add(1)
						continue
					}
					if draw.IntN(100) == 0 {
						continue // leaked
					}
				}
				if r.Refused() {
					refused.Add(1)
					continue
				}
				if !s.Settle(now, lease, Usage{Input: draw.Int64N(1000), Output: draw.Int64N(1000), Cost: cost}) {
					s.Charge(now, &q, Usage{Cost: cost})
				}
				spent.Add(cost)
				if draw.IntN(20_000) == 0 {
					if err := s.Configure(now, rules(1<<40+draw.Int64N(1000))); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	end := start.Add(365 * 24 * time.Hour)
	for _, st := range s.Stats() {
		if st.Spent != spent.Load() {
			t.Errorf("%s: %d settled, %d spent", st.Rule, st.Spent, spent.Load())
		}
	}
	_, leaked := s.Leases()
	s.Sweep(end)
	held, all := s.Leases()
	t.Logf("%d exchanges, %d refused, %d leaked, %d NanoUSD settled", exchanges, refused.Load(), all-leaked, spent.Load())
	if held != 0 || all == 0 {
		t.Errorf("%d leases held, %d leaked", held, all)
	}
	for i := range ID(9) {
		for _, st := range s.Standings(nil, end, &Request{Caller: i, Route: i}) {
			if st.Left != st.Limit.Most {
				t.Errorf("%s: %s: %d of %d left", st.Rule, st.Limit.Of, st.Left, st.Limit.Most)
			}
		}
	}
}

// A reading that is behind because its goroutine had to wait brings no time twice; that of a clock that can be set is where that was set to.
func TestSet_StaleReadingsBringNothing(t *testing.T) {
	t.Parallel()
	rate := []Limit{{Of: Requests, Per: Second, Most: 1, Burst: 10}}
	rolling, calendar := []Limit{{Of: Spend, Per: Minute, Most: 10, Rolling: true}}, []Limit{{Of: Spend, Per: Minute, Most: 10}}
	minute := time.Now()
	minute = minute.Add(time.Minute - time.Duration(minute.UnixNano()%int64(time.Minute))) // that one begins
	for _, c := range []struct {
		name       string
		now        time.Time
		limits     []Limit
		back, then time.Duration // of the stale reading, and until the next
		more       int           // let through then
	}{
		{"rate", minute, rate, 10 * time.Second, 0, 0},
		{"rate, a clock that can be set", minute.Round(0), rate, 10 * time.Second, 0, 10},
		{"rolling budget", minute, rolling, 10 * time.Second, 45 * time.Second, 0},
		{"budget of a minute", minute, calendar, 48 * time.Second, 6 * time.Second, 0},
		{"the next minute", minute, calendar, 48 * time.Second, 50 * time.Second, 10},
	} {
		at := c.now.Add(time.Hour + 12*time.Second)
		w := &world{TB: t, now: c.now, Set: New(c.now, Options{})}
		w.rules(Rule{Name: "limit", Limits: c.limits})
		let := func(at time.Time) (n int) {
			for ; n < 100; n++ {
				lease, r := w.Reserve(at, &Request{Part: Exchange, Cost: 1})
				if r.Refused() {
					break
				}
				w.Settle(at, lease, Usage{Cost: 1})
			}
			return n
		}
		if n := let(at); n != 10 {
			t.Fatalf("%s: %d let through at first", c.name, n)
		}
		if n := let(at.Add(-c.back)); n != 0 {
			t.Errorf("%s: %d let through by a clock that is behind", c.name, n)
		}
		if n := let(at.Add(c.then)); n != c.more {
			t.Errorf("%s: %d let through once more, want %d", c.name, n, c.more)
		}
	}
}
